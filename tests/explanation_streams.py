"""Explanations of image files in small parts, and the explainer and pictures that they are of."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path

import pytest

import ifnormal.jobs.stream
from ifnormal.common.pixels import png_bytes
from ifnormal.data.files.finding import find_images
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import read_document
from ifnormal.jobs.stream import Streaming, Summary, explain_images
from known_detectors import KnownDetector, blue, mean_color, red, tiny

SIZE = 8  # images a part, so that a few images are many parts

Stream = Callable[..., Summary]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts; and no page, which has tests of its own."""

    def write_report(folder: Path) -> Path:
        read_document(folder)
        (folder / "report.html").write_text("a page")
        return folder / "report.html"

    monkeypatch.setattr(ifnormal.jobs.stream, "PART_SIZE", SIZE)
    monkeypatch.setattr(ifnormal.jobs.stream, "write_report", write_report)


@pytest.fixture(scope="session")
def explainer() -> Explainer:
    """Explains, not well but quickly, why red is flagged."""
    return Explainer(mean_color(), tiny(steps=6)).fit(blue(), red(), seed=3)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 images, every third red and so flagged, and among them an empty file and a text."""
    folder = tmp_path_factory.mktemp("pictures")
    normal, anomalous = blue(27, seed=5), red(27, seed=6)
    for n in range(27):
        image = (anomalous if n % 3 == 0 else normal)[n]
        (folder / f"{n:03d}.png").write_bytes(png_bytes(image))
    (folder / "010_empty.png").write_bytes(b"")
    (folder / "020_<b>text.png").write_text("no image")
    return folder


@pytest.fixture
def stream(explainer: Explainer, pictures: Path, tmp_path: Path) -> Stream:
    """Explains `pictures` into a folder of `tmp_path`, `out` by default, with any options."""

    def stream(out: str = "out", **options: object) -> Summary:
        how = Streaming(**options)  # type: ignore[arg-type]
        return explain_images(explainer, find_images([pictures]), tmp_path / out, how)

    return stream


def with_detector(explainer: Explainer, detector: KnownDetector) -> Explainer:
    """The same explainer of another detector."""
    other = copy(explainer)
    other._detector = detector
    return other
