"""The images and videos endpoints of one model: from a request's body to pictures in its answer."""
