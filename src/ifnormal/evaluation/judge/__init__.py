"""The judge: names what an image shows, and never meets the detector."""
