"""Detectors of users, adapted to the Detector interface."""
