"""Run a small demo of two commits with the same seed, and list what differs in their results.

python studies/same_result.py main HEAD

Both run on this machine, with this interpreter and one thread. Weights, pictures, scores, figures
and losses are compared byte for byte; times and the record of versions are not, nor the report,
which shows them. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
_DIGEST = re.compile(r"-[0-9a-f]{12}(?=\.safetensors$)")
_LEFT_OUT = ("report.html",)
# Keys of JSON objects that two runs of the same code do not share.
_TIMES = {
    *("seconds", "wall_clock_s", "images_per_s", "date"),
    *("commit", "uncommitted_changes", "versions"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument("--budget", choices=("smoke", "small"), default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as name:
        folder = Path(name)
        runs = [
            demo(commit, folder / str(number), options.budget, options.seed)
            for number, commit in enumerate(options.commits)
        ]
        different = differences(*runs)
    for line in different:
        print(line)
    first, second = options.commits
    print(f"{first} and {second} differ." if different else f"{first} and {second} agree.")
    sys.exit(bool(different))


def demo(commit: str, folder: Path, budget: str, seed: int) -> Path:
    """The run folder of a demo by the code of a commit, checked out below `folder`."""
    checkout, run = folder / "checkout", folder / "run"
    git("worktree", "add", "--detach", str(checkout), commit)
    try:
        # Without IFNORMAL_DATA the demo is the same on every machine.
        kept = {name: value for name, value in os.environ.items() if name != "IFNORMAL_DATA"}
        options = ["--out", str(run), "--budget", budget, "--seed", str(seed)]
        subprocess.run(
            [sys.executable, "-m", "ifnormal", "demo", *options],
            env={**kept, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    finally:
        git("worktree", "remove", "--force", str(checkout))
    return run


def git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True)


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two run folders, a line each; empty if the results are the same."""
    before, after = contents(first), contents(second)
    lines = [f"{name}: only the first run has it" for name in sorted(before.keys() - after.keys())]
    lines += [
        f"{name}: only the second run has it" for name in sorted(after.keys() - before.keys())
    ]
    for name in sorted(before.keys() & after.keys()):
        lines += different(name, before[name], after[name])
    return lines


def contents(run: Path) -> dict[str, Any]:
    """The files of a run: JSON without times as values, all others as bytes.

    Names of weights end in a digest of their content, which is left out of the keys.
    """
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = _DIGEST.sub("", path.relative_to(run).as_posix())
        if not path.is_file() or name in _LEFT_OUT:
            continue
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            lines = path.read_text().splitlines()
            found[name] = [timeless(json.loads(line)) for line in lines]
        else:
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    """A JSON value without the keys that two runs of the same code do not share."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in _TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def different(name: str, first: Any, second: Any) -> list[str]:
    """Where two values differ, down to the single entries of JSON objects."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = list(dict.fromkeys([*first, *second]))
        pairs = [(key, first.get(key, "nothing"), second.get(key, "nothing")) for key in keys]
        return [line for key, *pair in pairs for line in different(f"{name}: {key}", *pair)]
    # As JSON, where 1 is not 1.0 and NaN is NaN.
    if isinstance(first, bytes) or isinstance(second, bytes):
        return [f"{name}: other content"] if first != second else []
    if json.dumps(first) == json.dumps(second):
        return []
    return [f"{name}: {shortened(first)} became {shortened(second)}"]


def shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


if __name__ == "__main__":
    main()
