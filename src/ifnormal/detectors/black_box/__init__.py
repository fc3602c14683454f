"""Detectors without a gradient: queries, and the surrogate distilled from them."""
