"""Another name of `ifnormal.common.pixels`, for what was written against it."""

from ifnormal.common.pixels import *  # noqa: F403
