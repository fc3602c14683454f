"""The local engine: several runs at a time on this machine, each in a process of its own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ifnormal.benchmarks.engines.process import Share, run_in_process
from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.sweep_folder import Outcome

_GRACE = 10.0


def run_locally(
    runs: Sequence[BenchRun],
    workplace: Workplace,
    share: Share,
    begun: Callable[[BenchRun], None],
    ended: Callable[[Outcome], None],
) -> None:
    """Do the runs on this machine, in their order.

    Args:
        runs: the runs.
        workplace: folders of the sweep.
        share: how many runs at a time, with how many threads each.
        begun: called with each run when its process starts.
        ended: called with the outcome of each run; both are called from this thread.

    Raises:
        KeyboardInterrupt: after the processes of the current runs have ended.
    """
    processes: set[subprocess.Popen[str]] = set()
    guard, stopping = threading.Lock(), threading.Event()

    def started(process: subprocess.Popen[str]) -> None:
        with guard:
            processes.add(process)
            if stopping.is_set():
                process.terminate()

    def do(run: BenchRun) -> Outcome:
        if stopping.is_set():
            return Outcome(run, "stopped")
        return run_in_process(run, workplace, share.threads, started=started)

    left = list(runs)
    with ThreadPoolExecutor(share.jobs) as pool:
        flying: set[Future[Outcome]] = set()
        try:
            while left or flying:
                while left and len(flying) < share.jobs:
                    run = left.pop(0)
                    begun(run)
                    flying.add(pool.submit(do, run))
                landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    ended(future.result())
        except BaseException:
            stopping.set()
            with guard:
                for process in processes:
                    if process.poll() is None:
                        process.terminate()
            wait(flying, timeout=_GRACE)
            for process in processes:
                if process.poll() is None:
                    process.kill()
            raise
