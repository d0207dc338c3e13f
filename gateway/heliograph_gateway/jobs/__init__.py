"""Video jobs, without HTTP."""
