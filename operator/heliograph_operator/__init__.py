"""The operator: makes the Kubernetes objects that an ImageModel asks for, and reports what became of them."""
