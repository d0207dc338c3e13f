"""Heliograph's command line: the parts that run in a cluster, and `serve`, which needs none."""
