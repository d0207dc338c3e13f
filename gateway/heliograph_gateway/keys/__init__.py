"""API keys: who may do what, how often and how much."""
