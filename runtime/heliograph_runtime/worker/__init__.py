"""The worker process, which owns the model, and the side of the HTTP process that starts and watches it."""
