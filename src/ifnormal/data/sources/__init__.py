"""Sources of images: named sets on disk or on the hub, embedded digits and rendered letters."""
