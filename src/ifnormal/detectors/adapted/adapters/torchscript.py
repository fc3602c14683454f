"""TorchScript files, `.pt`; pickles with this ending are refused, as unpickling runs code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.exported_program import (
    PICKLES,
    kind_of,
    load_program,
    refuse_pickle,
    require_trust,
)
from ifnormal.detectors.adapted.adapters.features import features_from
from ifnormal.detectors.adapted.adapters.output import first_line, scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel

_NAME = "torchscript"
_WHY = "a TorchScript file is a program, which runs when it is loaded and at every image"


def load_script(spec: str, options: AdapterOptions) -> ScoreModel:
    """Load a file of `torch.jit.save`, or an exported program that is called `.pt`.

    Raises:
        UserError: it is not trusted, holds pickled objects, or cannot be read.
    """
    path = Path(spec)
    kind = kind_of(path)
    if kind == "pickle":
        raise refuse_pickle(spec)
    if kind == "exported program":
        return load_program(spec, options)
    require_trust(spec, options.trust, _WHY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is on its way out
            script = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # torch's own, of any kind
        raise UserError(
            f"{spec} cannot be loaded by torch {torch.__version__} "
            f"({first_line(error)}); export it again with this version."
        ) from None
    model = wrap_script(script, options, spec)
    model.file = path
    return model


def wrap_script(
    script: torch.jit.ScriptModule, options: AdapterOptions, name: str = "The TorchScript module"
) -> ScoreModel:
    """A scripted or traced module; its features are a description of the images."""
    features = options.feature_function(name)

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        scores = scores_of(script(images), len(images), name)
        return scores, None if features is None else features_from(features, images)

    return ScoreModel(scoring, _NAME, module=script, black_box=bool(options.black_box))


def _is_script(value: Any) -> bool:
    return isinstance(value, torch.jit.ScriptModule)


def _takes(spec: str) -> bool:
    return spec.lower().endswith((".pt", *PICKLES))


ADAPTER = Adapter(
    name=_NAME,
    spec="model.pt",
    meaning="a file of torch.jit.save",
    takes_spec=_takes,
    load=load_script,
    takes=_is_script,
    wrap=wrap_script,
    why_trust=_WHY,
)
