"""Engines: where the runs of a sweep are done. Each takes runs and tells how each ended."""
