"""A process for one run: `python -m ifnormal.benchmarks.worker`, told what to do on its input.

A fresh process for each run: it has its own threads, gives all memory back, and whatever kills it
kills nothing else. It ends when its input does, so that none is left behind by a runner that died.
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
    """Read a job, a line of JSON; do it; write what it came to, a line of JSON."""
    job, answer = json.loads(sys.stdin.readline()), sys.stdout
    sys.stdout = sys.stderr  # what a run says belongs into its log
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
    os._exit(0)  # all is written; threads of libraries have nothing to say any more


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(_ABANDONED)


if __name__ == "__main__":
    main()
