"""Fetching the images that requests name by URL."""
