"""What administrators see of the models: replicas, queues and GPUs."""
