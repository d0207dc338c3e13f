"""The playground and the admin page: static files that ask the public API, with a key that the person gives them."""
