"""The version of ifnormal, in a file of its own so that no room imports the front door for it."""

__version__ = "0.1.0"
