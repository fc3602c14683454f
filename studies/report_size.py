"""How large the report is, how long it takes to write and to appear, and how much memory it needs.

python studies/report_size.py

Explanations are made up: smooth pictures with a little noise, which are as hard to compress as
photographs, of two concepts with nine steps each. Each report is written in a process of its own,
whose peak memory and processor time are taken, imports among them, and opened from disk by a
headless Chromium with a fresh profile, as often as asked for; figures are medians. The load of the
machine is saved with them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ifnormal.common.provenance import versions
from ifnormal.common.storage import write_json
from ifnormal.explanation.document import write_document
from ifnormal.explanation.entries import Counterfactual, ExplainedImage, Head, Traversal
from ifnormal.explanation.pictures import picture_name

RESULTS = Path(__file__).parent / "results" / "report.json"
CONCEPTS, STEPS, THRESHOLD = 2, 9, 0.5
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --window-size=1280,900"""
# Peak memory in KB as the kernel knows it; a parent's own would be inherited by `resource`.
WRITE = """
import sys, time
from pathlib import Path
from ifnormal.report import write_report
begun = time.perf_counter()
path = write_report(Path(sys.argv[1]))
seconds, worked = time.perf_counter() - begun, time.process_time()
status = Path("/proc/self/status").read_text()
peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(seconds, worked, int(peak) / 1024, path.stat().st_size / 1e6)
"""
PAINTED = """
const paint = performance.getEntriesByName("first-contentful-paint")[0];
const page = performance.getEntriesByType("navigation")[0];
const tiles = document.querySelectorAll("#tiles .tile").length;
return [paint ? paint.startTime : null, page.loadEventEnd, tiles];
"""


@dataclass(frozen=True)
class Case:
    """An explanation: so many images, the first of them explained."""

    images: int
    explained: int
    side: int


CASES = (
    Case(500, 500, 32),
    Case(500, 500, 128),
    Case(20_000, 500, 128),
    Case(5_000, 5_000, 32),
)


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="times each page is opened")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found.append({**asdict(case), **measure(case, Path(folder), options.repeats)})
        print(json.dumps(found[-1]), flush=True)
    write_json(options.out, {"load": load, "versions": versions(), "cases": found})


def measure(case: Case, folder: Path, repeats: int) -> dict[str, Any]:
    """Write a report and open it."""
    write_document(folder, head(case), list(images(case, folder)))
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder)], capture_output=True, text=True, check=True
    )
    seconds, worked, peak, size = map(float, done.stdout.split())
    times = [opened(folder / "report.html") for _ in range(repeats)] if has_browser() else []
    painted = [paint for paint, _ in times if paint is not None]
    return {
        "seconds_to_write": round(seconds, 2),
        "processor_seconds": round(worked, 2),
        "peak_memory_mb": round(peak, 1),
        "megabytes": round(size, 2),
        "first_paint_ms": round(median(painted)) if painted else None,
        "loaded_ms": round(median(loaded for _, loaded in times)) if times else None,
        "opened": repeats,
    }


def head(case: Case) -> Head:
    """What holds for all images."""
    targets = np.linspace(1, 0, STEPS).tolist()
    return Head(CONCEPTS, (3, case.side, case.side), THRESHOLD, THRESHOLD, "anomalous", targets)


def images(case: Case, folder: Path) -> Iterator[ExplainedImage]:
    """The entries of the document; writes the pictures of the explained ones."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(case.images):
        name = f"line 3/camera 1/{number:06d}.png"
        if number >= case.explained:
            score = 0.4 * rng.random()
            yield ExplainedImage(name, score, score, flagged=False)
            continue
        before, score = picture(rng, case.side), 0.6 + 0.4 * rng.random()
        save(folder / picture_name(number), before)
        edits = [edit(rng, case, folder, number, concept, before) for concept in range(CONCEPTS)]
        yield ExplainedImage(name, score, score, True, picture_name(number), edits)


def edit(
    rng: np.random.Generator,
    case: Case,
    folder: Path,
    number: int,
    concept: int,
    before: NDArray[np.float32],
) -> Counterfactual:
    """A counterfactual that changes a quarter of the image, and the way there."""
    after, half = before.copy(), case.side // 2
    after[:half, :half] = picture(rng, case.side)[:half, :half]
    alphas = np.linspace(1, 0, STEPS)
    frames = [alpha * before + (1 - alpha) * after for alpha in alphas]
    files = [picture_name(number, concept), picture_name(number, concept, traversal=True)]
    save(folder / files[0], after)
    save(folder / files[1], np.concatenate(frames, axis=1))
    scores = (0.2 + 0.7 * alphas).tolist()
    traversal = Traversal(files[1], scores, scores)
    score = 0.7 * rng.random()
    sure = [0.9 if k == concept else 0.1 for k in range(CONCEPTS)]
    return Counterfactual(concept, files[0], score, score, score <= THRESHOLD, sure, traversal)


def picture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A smooth picture with a little noise, (side, side, 3)."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return smooth + rng.normal(0, 2, smooth.shape).astype(np.float32)


def save(path: Path, pixels: NDArray[np.float32]) -> None:
    """(H, W, 3) as a PNG."""
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(path)


def has_browser() -> bool:
    """Whether pages can be opened here."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


def opened(page: Path) -> tuple[float | None, float]:
    """Milliseconds to the first paint and to the whole page, in a new browser."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        service = webdriver.ChromeService(str(shutil.which("chromedriver")))
        driver = webdriver.Chrome(options=options, service=service)
        try:
            driver.get(page.as_uri())
            driver.execute_async_script("setTimeout(arguments[0], 300)")
            paint, loaded, tiles = driver.execute_script(PAINTED)
            if not tiles:
                raise RuntimeError(f"{page} shows no image")
            return paint, loaded
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
