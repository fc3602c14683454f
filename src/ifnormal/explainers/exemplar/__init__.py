"""Counterfactuals made of parts of real normal images; nothing is trained."""
