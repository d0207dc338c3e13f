"""A single-node Kubernetes cluster for development, on a Debian machine with root; docs/devcluster.md tells more."""
