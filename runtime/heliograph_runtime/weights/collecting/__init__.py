"""Removing weights from a volume that models share, once the models that used them are gone: what a Job runs."""
