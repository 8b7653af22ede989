"""Engines: where logs live, behind one protocol (`base`)."""
