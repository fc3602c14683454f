"""Reading of the files that users have: found, opened, decoded, checked."""
