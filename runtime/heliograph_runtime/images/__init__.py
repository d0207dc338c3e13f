"""`POST /v1/images/generations`: from the request's body to pictures in the answer."""
