"""What every room may use: files, pixels, compute, progress, errors. It knows no other room."""
