"""A process for one run: `python -m ifnormal.benchmarks.worker` reads its job from its input.

A new process for each run has its own threads, frees all its memory, and its crash stops no other
run. It ends when its input ends, so that no worker outlives its runner.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

_ABANDONED = 130


def main() -> None:
    """Read a job, one line of JSON; do it; write its outcome, one line of JSON."""
    job, answer = json.loads(sys.stdin.readline()), sys.stdout
    sys.stdout = sys.stderr  # output of a run belongs to its log
    threading.Thread(target=_end_with_input, daemon=True).start()

    import torch

    from ifnormal.benchmarks.attempt import attempt
    from ifnormal.benchmarks.experiment import Workplace
    from ifnormal.benchmarks.sweep_folder import bench_run

    torch.set_num_threads(job["threads"])
    root = job["data_root"]
    workplace = Workplace(Path(job["out"]), None if root is None else Path(root))
    outcome = attempt(bench_run(job["run"]), workplace, job["wait"])
    answer.write(json.dumps(asdict(outcome)) + "\n")
    answer.flush()
    os._exit(0)  # everything is written; do not wait for threads of libraries


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(_ABANDONED)


if __name__ == "__main__":
    main()
