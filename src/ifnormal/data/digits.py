"""Alias of `ifnormal.data.sources.digits`, for code written against the old path."""

from ifnormal.data.sources.digits import *  # noqa: F403
