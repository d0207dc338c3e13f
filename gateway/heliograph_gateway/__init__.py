"""The gateway: one OpenAI-style HTTP API in front of every ImageModel, routed by `model`."""
