"""The Ray engine: each run is a task, on whatever cluster Ray reaches (the extra `ray`).

A task starts the same process as the local engine, so a run has the same figures. If a node dies,
Ray gives its runs to another one. Results lie in the sweep's folder. If the nodes do not share that
folder, tasks return all files but the weights, and the driver writes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ifnormal.benchmarks.engines.process import Share, run_in_process
from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.sweep_folder import (
    METRICS_FILE,
    Outcome,
    bench_run,
    is_done,
    write_failure,
)
from ifnormal.common.errors import UserError, one_line
from ifnormal.common.storage import write_atomic

if TYPE_CHECKING:
    from ifnormal.benchmarks.sweep import Engine

_RETRIES = 5
# Processes of a dead node end soon, and with them their locks.
_WAIT = 60.0
# Weights are useless without the detector, and most of the size of a run.
_LEFT_THERE = ".safetensors"
# Folders of the user's cards and experiments, which lie at the same place on every node.
_PASSED_ON = ("IFNORMAL_CARDS", "PYTHONPATH")


def on_ray(address: str | None) -> Engine:
    """The engine for the cluster at `address`; with None, Ray finds one or starts one here."""
    return partial(run_on_ray, address=address)


def run_on_ray(
    runs: Sequence[BenchRun],
    workplace: Workplace,
    share: Share,
    begun: Callable[[BenchRun], None],
    ended: Callable[[Outcome], None],
    address: str | None = None,
) -> None:
    """Do the runs on a Ray cluster.

    Args:
        runs: the runs.
        workplace: folders of the sweep; the paths must be valid on every node.
        share: its threads are the processors that a task asks for, with one GPU if nodes have any.
            The cluster decides how many tasks run at a time.
        begun: called with each run when it is submitted.
        ended: called with the outcome of each run.
        address: of the cluster; with None, Ray finds one or starts one here.

    Raises:
        UserError: Ray is not installed, or no cluster can be reached.
    """
    ray = _package()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    if _most(ray, "CPU") < share.threads:
        print(
            f"No node of the cluster has {share.threads} processors now; runs wait for one. "
            "--threads asks for fewer.",
            file=sys.stderr,
        )
    task = ray.remote(
        num_cpus=share.threads,
        num_gpus=min(1, _most(ray, "GPU")),
        max_retries=_RETRIES,
        runtime_env={"env_vars": _environment()},
    )(_task)
    places, pending = _places(workplace), {}
    try:
        for run in runs:
            begun(run)
            pending[task.remote(asdict(run), places, share.threads)] = run
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1)
            for reference in ready:
                run = pending.pop(reference)
                ended(_result(ray, reference, run, workplace.out))
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _task(run: Mapping[str, Any], places: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Do the run on a node; returns its outcome and its files."""
    root = places["data_root"]
    workplace = Workplace(Path(places["out"]), None if root is None else Path(root))
    outcome = run_in_process(bench_run(run), workplace, threads, wait=_WAIT)
    return {
        "state": outcome.state,
        "seconds": outcome.seconds,
        "sentence": outcome.sentence,
        "files": _files(workplace.out / outcome.run.key),
    }


def _files(folder: Path) -> dict[str, bytes]:
    """Path within a run's folder -> content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != _LEFT_THERE
    }


def _result(ray: ModuleType, reference: Any, run: BenchRun, out: Path) -> Outcome:
    """The outcome of a task; its files are written if they are not here yet."""
    try:
        told = ray.get(reference)
    except ray.exceptions.RayError as error:
        sentence = f"Ray gave the run up after {_RETRIES} retries ({one_line(error)})."
        write_failure(out, run, sentence, str(error))
        return Outcome(run, "failed", 0.0, sentence)
    if not is_done(out, run):
        # The figures are written last, since a run that has them counts as done.
        for name in sorted(told["files"], key=lambda name: name == METRICS_FILE):
            write_atomic(out / run.key / name, told["files"][name])
    return Outcome(run, told["state"], told["seconds"], told["sentence"])


def _connect(ray: ModuleType, address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=40)
    except (ConnectionError, ValueError) as error:  # nobody is there, or it is no address
        raise UserError(
            f"Ray reaches no cluster at {address} ({one_line(error)}); correct --address, or leave "
            "it out for a cluster on this machine."
        ) from None


def _most(ray: ModuleType, resource: str) -> float:
    """The largest amount of a resource that a node has."""
    return max((node["Resources"].get(resource, 0) for node in ray.nodes()), default=0)


def _environment() -> dict[str, str]:
    """Environment variables for the nodes, with absolute paths."""
    return {
        name: os.pathsep.join(str(Path(part).absolute()) for part in value.split(os.pathsep))
        for name in _PASSED_ON
        if (value := os.environ.get(name))
    }


def _places(workplace: Workplace) -> dict[str, str | None]:
    """Absolute paths of the workplace."""
    root = workplace.data_root
    return {
        "out": str(workplace.out.absolute()),
        "data_root": None if root is None else str(root.absolute()),
    }


def _package() -> ModuleType:
    try:
        import ray
        import ray.exceptions
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"The engine ray needs Ray ({one_line(error)}); run "
            'pip install "ifnormal[ray]", or use --engine local.'
        ) from None
    return ray
