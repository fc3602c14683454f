"""The experiments, one file each. A new one is a file and a line here. Loads no torch."""

from __future__ import annotations

import importlib
import re

from ifnormal.benchmarks.experiment import Experiment
from ifnormal.benchmarks.experiments import (
    access,
    baselines,
    bias,
    diffusion,
    fcdd,
    figure9,
    paper,
    planted,
    recipes,
    sensitivity,
    small_data,
    theory,
)
from ifnormal.common.errors import UserError, one_line

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        paper.EXPERIMENT,
        figure9.EXPERIMENT,
        bias.EXPERIMENT,
        planted.EXPERIMENT,
        sensitivity.EXPERIMENT,
        recipes.EXPERIMENT,
        access.EXPERIMENT,
        theory.EXPERIMENT,
        small_data.EXPERIMENT,
        fcdd.EXPERIMENT,
        baselines.EXPERIMENT,
        diffusion.EXPERIMENT,
    )
}


def experiment_named(name: str) -> Experiment:
    """A registered experiment, or one of a user's own by `package.module:attribute`.

    Raises:
        UserError: there is none of this name.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    if not re.fullmatch(r"[\w.]+:\w+", name):
        raise UserError(
            f"There is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}, or "
            "package.module:attribute for one of your own."
        )
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"The experiment {name} cannot be imported ({one_line(error)}); correct its name or "
            "add its folder to PYTHONPATH."
        ) from None
    if not isinstance(found, Experiment):
        raise UserError(f"{name} is a {type(found).__name__}, no Experiment; name one.")
    return found
