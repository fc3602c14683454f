"""Built-in detectors: networks, objectives and their training."""
