"""Fetching weights into a volume: what the Job of a model runs, and `heliograph serve` before a runtime starts."""
