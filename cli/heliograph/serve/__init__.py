"""`heliograph serve`: the runtimes as child processes and the gateway in front, on one machine without Kubernetes."""
