"""The demo over several seeds: mean and deviation of every figure, with what produced them.

python studies/demo_seeds.py --objective bce --seeds 0 1 2

Runs `ifnormal demo` once a seed into `--runs`; a finished run is taken as it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ifnormal.common.storage import read_json, write_json

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objective", default="bce", choices=("bce", "hsc", "dsvdd"))
    parser.add_argument("--budget", default="small", choices=("smoke", "small", "paper"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    name = (
        f"demo-{options.objective}-{options.budget}-{'full' if options.data_root else 'embedded'}"
    )
    folders = [options.runs / f"{name}-{seed}" for seed in options.seeds]
    for folder, seed in zip(folders, options.seeds, strict=True):
        if not (folder / "metrics.json").exists():
            _demo(folder, seed, options)
    path = write_json(options.results / f"{name}.json", summary(folders))
    print(path)


def _demo(folder: Path, seed: int, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "ifnormal", "demo", "--out", str(folder)]
    command += ["--objective", options.objective, "--budget", options.budget, "--seed", str(seed)]
    if options.data_root:
        command += ["--data-root", str(options.data_root)]
    subprocess.run(command, check=True)


def summary(folders: list[Path]) -> dict[str, Any]:
    """Figures of finished runs: {"mean": …, "deviation": …, "runs": [{seed, commit, …}]}."""
    metrics = [read_json(folder / "metrics.json") for folder in folders]
    configs = [read_json(folder / "config.json") for folder in folders]
    for key in ("commit", "fit", "detector"):
        if any(config.get(key) != configs[0].get(key) for config in configs):
            raise SystemExit(f"The runs differ in {key}; remove those of the older one.")
    # A figure that has no meaning for the setup is None in every run.
    numbers = [key for key, value in metrics[0].items() if isinstance(value, int | float | list)]
    return {
        "mean": {key: _over_seeds([m[key] for m in metrics], mean) for key in numbers},
        "deviation": {key: _over_seeds([m[key] for m in metrics], _deviation) for key in numbers},
        "fid_extractor": metrics[0]["fid_extractor"],
        "seeds": [config["seed"] for config in configs],
        "commit": configs[0].get("commit"),
        "versions": configs[0]["versions"],
        "fit": configs[0]["fit"],
        "detector": configs[0]["detector"],
        "runs": [
            {"seed": config["seed"], "seconds": config.get("seconds"), **figures}
            for config, figures in zip(configs, metrics, strict=True)
        ],
    }


def _over_seeds(values: list[Any], statistic: Any) -> Any:
    """A statistic over the seeds; of lists, one figure a concept, entry by entry."""
    if isinstance(values[0], list):
        return [round(statistic(column), 4) for column in zip(*values, strict=True)]
    return round(statistic(values), 4)


def _deviation(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
