"""Pure planners: from an ImageModel and the operator's settings to the objects that should exist."""
