"""Metrics: functions of tensors, and the facts of every figure in `metrics.json`.

Importing this package imports no torch, so that a report can be drawn from figures alone.
"""

from __future__ import annotations

from ifnormal.metrics.metric import Metric
from ifnormal.metrics.truth import MINIMAL_EDIT, TRULY_NORMAL, TWO_REASONS, TWO_WAYS

METRICS: dict[str, Metric] = {
    metric.key: metric for metric in (TRULY_NORMAL, MINIMAL_EDIT, TWO_REASONS, TWO_WAYS)
}
