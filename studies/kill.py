"""Kill a fit and an explanation at random moments, resume them, and compare with undisturbed ones.

python studies/kill.py --kills 20

Each is a process that runs the command line and gets SIGKILL after a random time from the first
moment of its work to its last. What lies in its folder is then checked: every file under its own
name must be one of an undisturbed run, never half of one. The same command resumes it, and the
result must be that of the undisturbed run, byte for byte (but for the seconds in a training log).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RESULTS = Path(__file__).parent / "results" / "kill.json"
DETECTOR = "--data.drawings 200 --data.outliers 64 --detector.steps 60 --detector.width 8"
FIT = (
    "--fit.steps 160 --fit.batch-size 8 --fit.generator.width 4 --fit.generator.inner-blocks 1 "
    "--fit.discriminator-width 4 --fit.checkpoint-every 4"
)
PICTURES = 400
_HALF = re.compile(r"\..+\.[0-9a-f]{16}")
# Everything is imported before the clock starts: a kill in an import proves nothing.
_PROGRAM = """
import sys, torch
import ifnormal.jobs.stages, ifnormal.jobs.explain, ifnormal.jobs.stream
from ifnormal.cli import main
torch.set_num_threads(1)
print("begun", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Work:
    """A command that writes into a folder.

    Attributes:
        arguments: of the command line, given the folder.
        prepare: makes the folder as it is before the command.
        content: what counts of the folder when the command is done, by file name.
    """

    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path], None]
    content: Callable[[Path], Mapping[str, bytes]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--what", nargs="+", choices=("fit", "explain"), default=["fit", "explain"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    from ifnormal.common.provenance import provenance
    from ifnormal.common.storage import write_json

    with TemporaryDirectory() as folder:
        works = make_works(Path(folder))
        found = {
            name: try_kills(work, Path(folder) / name, options.kills, options.seed)
            for name, work in works.items()
            if name in options.what
        }
    facts = {**provenance(), "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    write_json(options.out, {**found, "seed": options.seed, "facts": facts})


def make_works(folder: Path) -> dict[str, Work]:
    """A fit and an explanation in small; both begin from a run with a detector."""
    begun, run, pictures = folder / "begun", folder / "run", folder / "pictures"
    finish(f"train-detector --run {begun} {DETECTOR}".split())
    shutil.copytree(begun, run)
    finish(f"fit --run {run} {FIT}".split())
    write_pictures(begun, pictures)
    return {
        "fit": Work(
            arguments=lambda place: f"fit --run {place} {FIT} --resume".split(),
            prepare=lambda place: shutil.copytree(begun, place),
            content=fitted,
        ),
        "explain": Work(  # a folder that is not there yet
            arguments=lambda place: (
                f"explain {pictures} --explainer {run} --all --out {place}".split()
            ),
            prepare=lambda place: None,
            content=explained,
        ),
    }


def write_pictures(run: Path, folder: Path) -> None:
    """Test images of the run as files, and some that cannot be read."""
    from ifnormal.common.pixels import png_bytes
    from ifnormal.config import data_config
    from ifnormal.data import load_setup
    from ifnormal.jobs.run_folder import read_config

    config = read_config(run)
    images = load_setup(data_config(config["data"]), config["seed"]).test_anomalies
    folder.mkdir()
    for n in range(PICTURES):
        data = b"" if n % 90 == 5 else png_bytes(images[n % len(images)])
        (folder / f"{n:04d}.png").write_bytes(data)


def try_kills(work: Work, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill the work that many times, each in a folder of its own, and resume it.

    Raises:
        AssertionError: what was found is not that of an undisturbed run; says where and what.
    """
    undisturbed = folder / "undisturbed" / "work"  # a report shows the name of its folder
    work.prepare(undisturbed)
    seconds = finish(work.arguments(undisturbed))
    expected = work.content(undisturbed)
    rng, moments, states = random.Random(seed), [], []
    while len(moments) < kills:
        place = folder / f"{len(moments)}" / "work"
        work.prepare(place)
        moment = rng.random() * seconds
        done = kill(work.arguments(place), moment)
        if done is not None:  # before that moment, on a machine that has become faster
            seconds = min(seconds, done)
            shutil.rmtree(place)
            continue
        states.append(state(place, work.content(place), expected))
        finish(work.arguments(place))
        compare(f"{place}, killed after {moment:.2f} s", work.content(place), expected)
        moments.append(round(moment, 3))
        print(f"{folder.name}: killed after {moment:.2f} s of {seconds:.2f} s, {states[-1]}: same")
        shutil.rmtree(place)
    return {
        "kills": kills,
        "same": len(moments),
        "seconds": round(seconds, 2),
        "moments": moments,
        "found": states,
    }


def state(place: Path, content: Mapping[str, bytes], expected: Mapping[str, bytes]) -> str:
    """What a killed work left, in words; every file that would be read as good must be good."""
    from ifnormal.common.storage import load_tensors

    halves = sum(bool(_HALF.fullmatch(path.name)) for path in place.rglob("*"))
    step = 0
    for name in ("checkpoint", "explainer"):
        if (place / "explainer" / f"{name}.json").exists():
            step = load_tensors(place / "explainer", name)[1].get("step", step)
    whole = {name: data for name, data in content.items() if is_final(name)}
    compare(f"{place} after the kill", whole, {name: expected[name] for name in whole})
    reached = f"step {step}, " if step else ""
    return f"{reached}{len(content)} of {len(expected)} files, {halves} half-written"


def is_final(name: str) -> bool:
    """Whether a file is written once, so that it has to be good from its first moment."""
    return "checkpoint" not in name and not name.endswith("losses.jsonl")


def compare(where: str, found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    if missing or more or other:
        raise AssertionError(
            f"{where}: missing {sorted(missing)[:5]}, too many {sorted(more)[:5]}, "
            f"different {sorted(other)[:5]}"
        )


def fitted(run: Path) -> dict[str, bytes]:
    """Explainer, checkpoint and training log, without its seconds."""
    content = dict(files(run / "explainer"))
    log = content.get("losses.jsonl", b"").decode().split("\n")
    rows = [json.loads(line) for line in log[:-1]]
    timeless = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return {**content, "losses.jsonl": json.dumps(timeless).encode()}


def explained(folder: Path) -> dict[str, bytes]:
    """Everything, the folder's own name left out."""
    here = str(folder).encode()
    return {name: data.replace(here, b"OUT") for name, data in files(folder)}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files below a folder, but for half-written ones, which nobody reads."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _HALF.fullmatch(path.name):
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def finish(arguments: list[str]) -> float:
    """Run a command of ifnormal to its end; the seconds of its work."""
    with begin(arguments) as process:
        begun = time.perf_counter()
        _, said = process.communicate()
        assert process.returncode == 0, said
    return time.perf_counter() - begun


def kill(arguments: list[str], moment: float) -> float | None:
    """Kill a command after some seconds of work; the seconds it took if it was done by then."""
    with begin(arguments) as process:
        begun = time.perf_counter()
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        seconds = time.perf_counter() - begun
        process.communicate()
        return None if process.returncode == -signal.SIGKILL else seconds


def begin(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command of ifnormal; returns when its work begins."""
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    if process.stdout.readline() != "begun\n":
        raise AssertionError(process.communicate()[1])
    return process


if __name__ == "__main__":
    main()
