"""Jobs: the whole work on a run folder or on a user's own images, in parts that resume."""
