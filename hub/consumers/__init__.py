"""Consumers: durable, named folds over streams, run by the hub in a sandbox."""
