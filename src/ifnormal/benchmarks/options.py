"""The options of a run: dotted names over the dataclasses of `config/`. Loads no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from ifnormal.benchmarks.experiment import BenchRun
from ifnormal.common.errors import UserError
from ifnormal.config import (
    BackboneConfig,
    DataConfig,
    DetectorConfig,
    DiffusionConfig,
    FitConfig,
    Objective,
)
from ifnormal.config.editors import EDITORS

_JUDGE_STEPS = 900
_HASHED = 16
# Family of setups -> training of its diffusion model.
_BACKBONES: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {"backbone.autoencoder_steps": 1200},
    "inn": {
        "backbone.steps": 1500,
        "backbone.autoencoder_steps": 700,
        "backbone.autoencoder_batch_size": 32,
        "backbone.autoencoder_widths": [32, 64, 64],
    },
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Configs:
    """All options of a run.

    Attributes:
        data: the setup and the data root.
        detector: training of the detector.
        fit: training of the pixel generator.
        judge_steps: optimizer steps of the judge.
        backbone: training of the diffusion model, in runs that need one.
        diffusion: editing with the diffusion model.
    """

    data: DataConfig
    detector: DetectorConfig
    fit: FitConfig
    judge_steps: int = _JUDGE_STEPS
    backbone: BackboneConfig | None = None
    diffusion: DiffusionConfig | None = None


def configs_of(run: BenchRun, data_root: Path | None) -> Configs:
    """The options of a run: those of the setup's budget, overridden by the run's own options.

    Raises:
        UserError: an option is unknown or its value is out of range.
    """
    start = Configs(DataConfig(setup=run.setup, data_root=data_root), DetectorConfig(), FitConfig())
    diffusion = EDITORS[run.generator].needs_backbone
    if diffusion or any(name.startswith(("backbone.", "diffusion.")) for name in run.options):
        start = replace(start, backbone=BackboneConfig(), diffusion=DiffusionConfig())
    chosen = {**(backbone_options(run.setup) if diffusion else {}), **budget_of(run)}
    if run.detector in get_args(Objective):
        chosen["detector.objective"] = run.detector
    chosen |= run.options
    # All generators make as many counterfactuals of an image, unless they are told otherwise.
    concepts = f"diffusion.{run.generator}.concepts"
    if diffusion and run.generator != "diffedit" and concepts not in chosen:
        chosen[concepts] = chosen.get("fit.concepts", FitConfig().concepts)
    return with_options(start, chosen)


def backbone_options(setup: str) -> dict[str, Any]:
    """How the diffusion model of a setup is trained."""
    return {"backbone.steps": 2500, **_BACKBONES.get(setup.split("/")[0], {})}


def spelled_out(run: BenchRun) -> BenchRun:
    """The same run with the options of its setup's budget, and a digest of everything else.

    If a card or a default changes, the run becomes another run with another folder, and results of
    the old options are not mistaken for it.
    """
    from ifnormal.data import SETUPS
    from ifnormal.data.setups.card_files import all_cards

    card = all_cards().get(run.setup)
    own = {name.partition(".")[0] for name in run.options} - {part.name for part in fields(Configs)}
    known = card is not None or run.setup in SETUPS or bool(run.options)
    if not known or (card is None and own):
        return run  # the options are those of the experiment alone
    whole = replace(run, options={**budget_of(run), **run.options})
    resolved = {k: v for k, v in asdict(configs_of(whole, None)).items() if v is not None}
    # The location of a card does not matter, and its budgets are among the options.
    resolved["data"].pop("cards")
    described = None if card is None else {**asdict(card), "budgets": None, "file": None}
    packed = json.dumps([resolved, described], sort_keys=True, default=str)
    return replace(whole, content=hashlib.sha256(packed.encode()).hexdigest()[:_HASHED])


def budget_of(run: BenchRun) -> Mapping[str, Any]:
    """The options of the run's budget in the card of its setup; none without a card."""
    from ifnormal.data.setups.card_files import all_cards

    known = all_cards().get(run.setup)
    return {} if known is None else known.budgets.get(run.budget, {})


def with_options(config: _T, options: Mapping[str, Any]) -> _T:
    """The same dataclass with some fields changed, by dotted names such as "weights.score".

    Raises:
        UserError: there is no such field, or a value is of another kind or out of range.
    """
    own: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        head, _, rest = name.partition(".")
        if not is_dataclass(config) or head not in {field.name for field in fields(config)}:
            kind = type(config).__name__
            raise UserError(f"There is no option {name!r} in {kind}; correct the budget or run.")
        if rest:
            nested.setdefault(head, {})[rest] = value
        else:
            _require_kind(name, value, getattr(config, head))
            own[head] = tuple(value) if isinstance(value, list) else value
    for head, inner in nested.items():
        own[head] = with_options(own.get(head, getattr(config, head)), inner)
    return replace(config, **own)  # type: ignore[type-var]


def _require_kind(name: str, value: Any, usual: Any) -> None:
    """Refuse a value of another type than the option has now; after None any value will do."""
    if usual is None:
        return
    kinds: tuple[type, ...] = (type(usual),)
    if isinstance(usual, float):
        kinds = (int, float)
    elif isinstance(usual, tuple):
        kinds = (list, tuple)
    if (
        is_dataclass(usual)
        or not isinstance(value, kinds)
        or isinstance(value, bool) != isinstance(usual, bool)
    ):
        such = "has options of its own" if is_dataclass(usual) else f"takes such as {usual!r}"
        raise UserError(f"The option {name} {such}, not {value!r}; correct it.")
