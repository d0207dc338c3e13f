"""The runtime of one ImageModel: an HTTP process with the queue, and a worker process that owns the model."""
