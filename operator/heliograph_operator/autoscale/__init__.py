"""The autoscaler: from the load of the gateways to the size of each model that has `spec.serving.scaling`."""
