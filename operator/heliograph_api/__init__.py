"""The contract that every part of Heliograph shares: ImageModel, the request contract and the error envelope.

Nothing in this package reads a file, opens a socket or imports another of our packages.
"""
