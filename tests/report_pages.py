"""Reports of explanations that tests look at in a browser, and what such a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explanation_folders import second_opinions, write_explanation
from ifnormal.report import write_report

RED, GREEN, BLUE = (230, 20, 20), (20, 180, 20), (20, 20, 230)
THRESHOLD = 10.0
HOSTILE = (
    "<img src=x onerror=window.hacked=1>.png",
    "</script><script>window.hacked=2</script>",
    "\"'`]]><!--<script>window.hacked=3//",
    "line\nbreak \u2028 \u202egnp.exe",
    "${window.hacked=4}{{7*7}}",
    "日本語/異常.png",
)
# 61 flagged images are two pages; the first has the highest score.
FLAGGED = [30.0 - i / 10 for i in range(61)]
UNFLAGGED = [9.0, 8.0]


def solid(colour: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.full((8, 9, 3), colour, np.uint8)


def write(folder: Path, scores: list[float], **options: Any) -> Path:
    """Red anomalies, made green by concept A and blue by B; some edits are accepted."""
    n = len(scores)
    anomalies = np.stack([solid(RED)] * n)
    edits = np.stack([np.stack([solid(GREEN), solid(BLUE)])] * n)
    kinds = ([2.0, 3.0], [2.0, 12.0], [11.0, 12.0])  # all, some, none accepted
    edit_scores = [kinds[0 if i < 40 else 1 if i < 55 else 2] for i in range(n)]
    names = [HOSTILE[i] if i < len(HOSTILE) else f"line 3/{i:03d}.png" for i in range(n)]
    write_explanation(
        folder,
        anomalies,
        edits,
        scores,
        edit_scores,
        names=names,
        threshold=THRESHOLD,
        calibrate=lambda score: float(1 / (1 + np.exp((THRESHOLD - score) / 5))),
        frames=5,
        **options,
    )
    return folder


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Reports by name: of many images, none flagged, with second opinions, and with its folder."""
    folder = tmp_path_factory.mktemp("reports")
    refined = {"why": "it missed the threshold </b>", "score_before": 12.5}
    bad = [(HOSTILE[0], "it is <b>truncated</b>"), ("b.png", "it is empty")]
    many = write(
        folder / "many",
        FLAGGED + UNFLAGGED,
        skipped=bad,
        edit_extra={(1, 1): {"refined": refined}},
    )
    none = write(folder / "none", UNFLAGGED)
    linked = write(folder / "linked" / "explanation", FLAGGED[:4]).parent
    # Of the first image both edits are accepted by both, of the second none, though it is valid;
    # of the third one edit is accepted by one detector.
    opinions = second_opinions(("mvg", "padim"), [0, 0, 0], [[2, 2], [0, 0], [1, 0]], (1, 1, 18))
    asked = write(folder / "asked", FLAGGED[:3], **opinions)
    budgets = {asked: 24_000_000, many: 24_000_000, none: 24_000_000, linked: 1}
    return {page.name: write_report(page, budget=size) for page, size in budgets.items()}


def numbers(browser: Any) -> list[int]:
    """The images whose thumbnails are shown."""
    script = (
        "return [...document.querySelectorAll('#tiles .tile')].map(t => Number(t.dataset.number))"
    )
    found: list[int] = browser.execute_script(script)
    return found


def opened(browser: Any) -> int | None:
    """The image that is open."""
    script = "const d = document.getElementById('detail');"
    script += "return d.open ? Number(d.querySelector('.number').textContent) : null"
    number: int | None = browser.execute_script(script)
    return number
