"""ifnormal: what would have to change in this image for the detector to call it normal?"""

__version__ = "0.1.0"
