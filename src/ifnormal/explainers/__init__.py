"""Explainers: from images that a detector flags to an Explanation."""
