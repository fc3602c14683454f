"""Anomaly-detection setups: normal images, anomalies and outlier exposure."""
