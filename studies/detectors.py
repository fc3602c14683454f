"""How well the built-in detectors tell anomalies apart, and what they cost.

python studies/detectors.py --data DATA [--detectors padim,mvg] [--sets deeppcb] [--seeds 0,1,2]

A row a detector, set and seed in `results/detectors.json`: AuROC of all test images, %, seconds of
training with calibration, milliseconds an image, and MB on disk. Times are those of the processor,
with one thread, so that other work on the machine hardly counts. What is there already is not
measured again, unless `--again`. A detector without randomness has one row for seed 0. Nothing of a
detector is chosen here: its options are those of the setup's small budget. `--table` writes the
table of docs/detectors.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import torch

from ifnormal.benchmarks.experiment import BenchRun
from ifnormal.benchmarks.experiments.small_data import few_normal
from ifnormal.benchmarks.options import configs_of
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import read_json, write_json
from ifnormal.data import load_setup
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.kinds import KINDS
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.auroc import auroc

RESULTS = Path(__file__).parent / "results" / "detectors.json"
GUIDE = Path(__file__).parents[1] / "docs" / "detectors.md"
BEGIN, END = "<!-- detectors:begin -->\n", "<!-- detectors:end -->\n"
SETS = {
    "mvtec_bottle": "mvtec/bottle",
    "mvtec_screw": "mvtec/screw",
    "deeppcb": "inspection/deeppcb",
    "elpv_poly": "inspection/elpv_poly",
    "elpv_mono": "inspection/elpv_mono",
    "gtsrb_500": "gtsrb/speed-limits",
    **{
        f"cifar10_{name}": f"cifar10/one-vs-rest/{name}"
        for name in ("bird", "cat", "ship", "truck")
    },
    # Persian cat, Labrador, bee and sports car among their ten most similar classes.
    **{
        f"inn_{name}": f"inn/{name}"
        for name in ("n02123394", "n02099712", "n02206856", "n04285008")
    },
}
# A kind, perhaps followed by a network.
DETECTORS = (*KINDS, "bce+features", "hsc+features")
DETERMINISTIC = ("mvg", "padim")
MOST_NORMAL = 1000
OUTLIERS = 2000
TESTED = 400  # normal test images, and as many anomalies


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the Parquet sets")
    parser.add_argument("--detectors", type=_names, default=DETECTORS)
    parser.add_argument("--sets", type=_names, default=tuple(SETS))
    parser.add_argument("--seeds", type=_names, default=("0", "1", "2"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure what is there once more")
    parser.add_argument("--table", action="store_true", help="only write the table of the docs")
    options = parser.parse_args(arguments)
    if options.table:
        write_table(read_json(options.out)["rows"])
        return
    torch.set_num_threads(1)
    for name in options.sets:
        for seed in map(int, options.seeds):
            for detector in options.detectors:
                if seed and detector in DETERMINISTIC:
                    continue
                key = {"detector": detector, "set": name, "seed": seed}
                rows = _rows(options.out)
                if not options.again and any(key.items() <= row.items() for row in rows):
                    continue
                row = key | measure(detector, name, seed, options.data)
                print(row, flush=True)
                rows = [other for other in _rows(options.out) if not key.items() <= other.items()]
                write_json(options.out, {"rows": [*rows, row], "provenance": provenance()})


def measure(detector: str, name: str, seed: int, data: Path) -> dict[str, Any]:
    """Train a detector and measure it; see the head of this file."""
    kind, _, network = detector.partition("+")
    run = BenchRun("detectors", SETS[name], kind, seed, budget="small")
    configs = configs_of(run, data)
    config = replace(configs.detector, network=network or configs.detector.network)
    setup = load_setup(replace(configs.data, test_images=TESTED, outliers=OUTLIERS), seed)
    setup = few_normal(setup, seed) if name == "gtsrb_500" else _bounded(setup, seed)
    with _empty_cache():
        begun = time.process_time()
        trained = train_detector(setup, config, seed)
        train_s = time.process_time() - begun
    begun = time.process_time()
    normal, odd = (in_batches(trained, i) for i in (setup.test_normal, setup.test_anomalies))
    seconds = time.process_time() - begun
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "auroc": round(auroc(normal, odd), 2),
        "flagged_normal": round(100 * float((normal > trained.threshold).float().mean()), 1),
        "flagged_anomalies": round(100 * float((odd > trained.threshold).float().mean()), 1),
        "train_s": round(train_s, 1),
        "ms_image": round(1000 * seconds / (len(normal) + len(odd)), 1),
        "size_mb": round(size / 2**20, 2),
        "normal_images": len(setup.train_normal),
    }


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Features are computed, not read from what an earlier detector kept."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"IFNORMAL_CACHE": folder}),
    ):
        yield


def _bounded(setup: AnomalySetup, seed: int) -> AnomalySetup:
    """The setup with at most 1,000 normal training images, so that every detector takes as many."""
    order = torch.randperm(len(setup.train_normal), generator=generator(seed, "fewer normal"))
    return replace(setup, train_normal=setup.train_normal[order[:MOST_NORMAL]])


def write_table(rows: Iterable[dict[str, Any]]) -> None:
    """The table of docs/detectors.md: mean AuROC (worst), and the cost."""
    rows = list(rows)
    before, begin, rest = GUIDE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    sets = [name for name in SETS if any(row["set"] == name for row in rows)]
    detectors = [kind for kind in DETECTORS if any(row["detector"] == kind for row in rows)]
    head = ["AuROC, %", *detectors]
    lines = [head, ["---"] * len(head)]
    for name in sets:
        cells = [
            _cell([r for r in rows if (r["set"], r["detector"]) == (name, d)]) for d in detectors
        ]
        lines.append([name, *cells])
    for key, title in (("train_s", "training, s"), ("ms_image", "ms an image"), ("size_mb", "MB")):
        cells = []
        for detector in detectors:
            found = [row[key] for row in rows if row["detector"] == detector]
            cells.append(f"{mean(found):.3g}" if found else "–")
        lines.append([f"*{title}*", *cells])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    GUIDE.write_text(before + begin + table + end + after)


def _cell(rows: list[dict[str, Any]]) -> str:
    found = [row["auroc"] for row in rows]
    if not found:
        return "–"
    return f"{mean(found):.1f}" + (f" ({min(found):.1f})" if len(found) > 1 else "")


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(read_json(path)["rows"]) if path.exists() else []


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    main()
