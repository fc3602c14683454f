"""Setups: which images are normal, which are not, and what may be learned from."""
