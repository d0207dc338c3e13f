"""What is wrong with a model that does not get ready, told from the objects that Kubernetes keeps of it; pure."""
