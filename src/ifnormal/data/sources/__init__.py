"""Named sets of images: where they are, and their labels."""
