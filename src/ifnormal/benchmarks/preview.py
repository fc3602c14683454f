"""A run's pictures at a glance: anomalies and their counterfactuals with their scores."""

from __future__ import annotations

from pathlib import Path

from ifnormal.benchmarks.sheet import ACCEPTED, FLAGGED, Sheet, square_picture
from ifnormal.explanation.explanation import Explanation

_SIDE, _CAPTION, _GAP, _MARGIN = 96, 14, 4, 14


def write_preview(path: Path, explanation: Explanation, anomalies: int = 16) -> Path:
    """Write a PNG: each anomaly, then its K counterfactuals, with their scores under them.

    Anomalies are taken evenly from all, none chosen. A score is green where the detector accepts
    the image and red where it flags it. Groups of 1 + K pictures fill rows about as wide as high.

    Args:
        path: of the PNG.
        explanation: at least one anomaly.
        anomalies: the most that are shown.
    """
    count = min(anomalies, len(explanation))
    rows = [round(i * (len(explanation) - 1) / max(count - 1, 1)) for i in range(count)]
    pictures = 1 + explanation.concepts
    across = max(1, round((count / pictures) ** 0.5))
    down = -(-count // across)
    cell = (_SIDE + _GAP, _SIDE + _CAPTION + _GAP)
    group = pictures * cell[0] + _MARGIN
    sheet = Sheet(across * group + _MARGIN, down * cell[1] + 2 * _MARGIN)
    for position, n in enumerate(rows):
        left = _MARGIN + (position // down) * group
        top = _MARGIN + (position % down) * cell[1]
        before = (explanation.anomalies[n], float(explanation.scores_before[n]))
        after = zip(explanation.counterfactuals[n], explanation.scores_after[n], strict=True)
        for column, (pixels, score) in enumerate([before, *((p, float(s)) for p, s in after)]):
            x = left + column * cell[0]
            sheet.put(square_picture(pixels, _SIDE), x, top)
            colour = FLAGGED if score > explanation.threshold else ACCEPTED
            sheet.say(f"{score:.2f}", x + 2, top + _SIDE + 1, colour)
        sheet.say("->", left + _SIDE - 14, top + _SIDE + 1)
    return sheet.write(path)
