"""Provenance of the figures of a sweep, and which of its runs are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import Experiment, Finished
from ifnormal.benchmarks.sweep_folder import Plan, failures
from ifnormal.benchmarks.tables import Origin
from ifnormal.common.storage import read_json
from ifnormal.jobs.our_files import CONFIG

_PACKAGES = ("ifnormal", "torch", "numpy", "python")


def origin_of(out: Path, experiment: Experiment, plan: Plan, done: Sequence[Finished]) -> Origin:
    """The origin of a sweep's tables.

    Args:
        out: folder of the sweep.
        experiment: the experiment.
        plan: all planned runs.
        done: the runs that have figures.
    """
    return Origin(
        experiment=experiment.name,
        title=experiment.title,
        done=len(done),
        planned=len(plan.runs),
        failed=failures(out, plan.runs),
        skipped=dict(plan.skipped),
        made_with=_made_with([_config(one.folder) for one in done]),
    )


def _made_with(configs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Each fact with the number of its runs, since a table may mix several commits."""
    return {
        "Commit": _counted(
            f"{str(config.get('commit') or 'unknown')[:12]}"
            f"{' with changes' if config.get('uncommitted_changes') else ''}"
            for config in configs
        ),
        "Versions": _counted(
            ", ".join(f"{name} {_version(config, name)}" for name in _PACKAGES)
            for config in configs
        ),
        "Processor": _counted(
            f"{_version(config, 'cpu')}, {_version(config, 'threads')} threads of "
            f"{config.get('machine', {}).get('cores', 'unknown')} cores"
            for config in configs
        ),
        "Day": _counted(str(config.get("date", "unknown"))[:10] for config in configs),
    }


def _version(config: Mapping[str, Any], name: str) -> str:
    return str(config.get("versions", {}).get(name, "unknown"))


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}
