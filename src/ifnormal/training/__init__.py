"""Training of the generator against a frozen detector."""
