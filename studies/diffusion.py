"""What are edits by diffusion models worth beside the pixel generator's?

python studies/diffusion.py --only 'gtsrb/*' --seeds 0,1,2

Does what is left of `ifnormal bench run diffusion`, the training of the diffusion model among it,
and writes two files for each family of setups: `results/diffusion-FAMILY.json`, the figures of
every method as mean and deviation over seeds, and `docs/images/diffusion-FAMILY.png`, the first
anomalies with what each method makes of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ifnormal.benchmarks.experiment import Finished
from ifnormal.benchmarks.experiments.diffusion import COLUMNS, EXPERIMENT, METHODS, OF_SEVERAL
from ifnormal.benchmarks.provenance import origin_of
from ifnormal.benchmarks.summary import summary
from ifnormal.benchmarks.sweep import draw_figures
from ifnormal.benchmarks.sweep_folder import Plan, finished, read_plan
from ifnormal.common.storage import read_json, write_json

ROOT = Path(__file__).parents[1]
# Of a picture in the documentation: enough to judge it by, at a third of the size.
_COLOURS = 192
RESULTS, IMAGES = Path(__file__).parent / "results", ROOT / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="gtsrb/*", help="ids of setups")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("sweeps/diffusion"))
    parser.add_argument("--as-it-is", action="store_true", help="run nothing, tell what is there")
    options = parser.parse_args()
    if not options.as_it_is:
        command = [sys.executable, "-m", "ifnormal", "bench", "run", "diffusion"]
        command += ["--only", options.only, "--seeds", options.seeds, "--out", str(options.out)]
        subprocess.run(command, check=True)
    plan = read_plan(options.out)
    pictures = {path.stem: path for path in draw_figures(options.out)}
    for setup in dict.fromkeys(run.setup for run in plan.runs):
        done = [one for one in finished(options.out, plan.runs) if one.run.setup == setup]
        if done:
            family, first = setup.split("/")[0], min(one.run.seed for one in done)
            picture = pictures[f"{setup.replace('/', '-')}-seed{first}"]
            with Image.open(picture) as sheet:
                small = sheet.convert("RGB").quantize(_COLOURS)
            small.save(IMAGES / f"diffusion-{family}.png", optimize=True)
            write_json(RESULTS / f"diffusion-{family}.json", told(setup, plan, done, options.out))
            print(RESULTS / f"diffusion-{family}.json")


def told(setup: str, plan: Plan, done: Sequence[Finished], out: Path) -> dict[str, Any]:
    """Everything about one setup; JSON-compatible."""
    made = origin_of(out, EXPERIMENT, plan, done).made_with
    return {
        "setup": setup,
        "commit": ", ".join(made["Commit"]),
        "versions": ", ".join(made["Versions"]),
        "cpu": ", ".join(made["Processor"]),
        "seeds": sorted({one.run.seed for one in done}),
        "anomalies": sorted({int(one.metrics["anomalies"]) for one in done}),
        "backbone": backbone(done),
        "rows": [
            found
            for variant in METHODS
            if (found := row(variant, [one for one in done if one.run.variant == variant]))
        ],
    }


def row(variant: str, done: Sequence[Finished]) -> dict[str, Any]:
    """A method's figures: each the mean over seeds, and its deviation; None where it has none."""
    if not done:
        return {}
    figures: dict[str, Any] = {"method": METHODS[variant][0], "variant": variant}
    figures["runs"] = len(done)
    for key in COLUMNS:
        if key == "as_named" and not done[0].run.setup.startswith(OF_SEVERAL):
            continue
        cell = summary([one.run for one in done], done, key)
        # Neither pixels nor the pipeline's own calls are counted in calls of the U-net.
        known = cell.mean is not None and (key != "unet_calls" or cell.mean > 0)
        figures |= {key: cell.mean, f"{key}_std": cell.deviation} if known else _unknown(key)
    return figures


def _unknown(key: str) -> dict[str, None]:
    return {key: None, f"{key}_std": None}


def backbone(done: Sequence[Finished]) -> dict[str, Any]:
    """What is known of the diffusion model that the methods share."""
    for one in done:
        path = one.folder / "explanation" / "explanation.json"
        facts = read_json(path)["facts"].get("backbone")
        if facts:
            kept = ("images", "psnr", "seconds", "seed", "config", "prompts")
            return {key: facts[key] for key in kept}
    return {}


if __name__ == "__main__":
    main()
