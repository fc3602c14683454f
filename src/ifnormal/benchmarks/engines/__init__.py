"""Engines: each does the runs of a sweep somewhere and reports the outcome of each run."""
