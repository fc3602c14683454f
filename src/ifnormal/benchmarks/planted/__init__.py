"""Planted reasons: detectors of which it is known why they flag an image."""
