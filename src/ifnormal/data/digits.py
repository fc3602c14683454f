"""Another name of `ifnormal.data.sources.digits`, for what was written against it."""

from ifnormal.data.sources.digits import *  # noqa: F403
