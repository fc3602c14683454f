"""Another name of `ifnormal.explanation.document`, for what was written against it."""

from ifnormal.explanation.document import *  # noqa: F403
