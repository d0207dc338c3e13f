"""The diffusers engine. Only the worker imports it; `files` and `weights` can be imported without torch."""
