"""Exported programs, `.pt2`: the whole graph of a torch model, differentiable."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.batching import in_batches_of
from ifnormal.detectors.adapted.adapters.exported_graph import add_tap, remove_activation
from ifnormal.detectors.adapted.adapters.features import extractor
from ifnormal.detectors.adapted.adapters.output import first_line, scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel

_NAME = "exported program"
_TAP = "ifnormal_tap"
_WHY = "torch reads exported programs with pickle, which can run any code that is in the file"


def load_program(spec: str, options: AdapterOptions) -> ScoreModel:
    """A file that `torch.export.save` wrote.

    Raises:
        UserError: it is not trusted, is no such file, or cannot be read by this torch.
    """
    path = Path(spec)
    if kind_of(path) != "exported program":
        raise (
            refuse_pickle(spec)
            if kind_of(path) == "pickle"
            else UserError(f"{spec} is a TorchScript file; call it .pt.")
        )
    require_trust(spec, options.trust, _WHY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except Exception as error:  # torch's own, of any kind, for another version or a damaged file
        raise UserError(
            f"{spec} cannot be loaded by torch {torch.__version__} ({first_line(error)}); export "
            "it again with this version."
        ) from None
    model = wrap_program(program, options, spec)
    model.file = path
    return model


def wrap_program(
    program: ExportedProgram, options: AdapterOptions, name: str = "The exported program"
) -> ScoreModel:
    """An exported program with one input of images.

    A clip or sigmoid at the end of its score is removed, and applied where scores are shown; see
    `OutputActivation`. Its features are the input of the last linear or convolutional layer.
    """
    size, least, most = _input(program, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = program.module()
    # Both raise for exported programs, whose graph is fixed to the mode of the export.
    module.train = lambda mode=True: module  # type: ignore[method-assign]
    module.eval = lambda: module  # type: ignore[method-assign]
    activation = remove_activation(module)
    features = options.feature_function(name)
    extract = extractor(module, features or (_TAP if add_tap(module, _TAP) else None))

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        scores = scores_of(module(images), len(images), name)
        return scores, extract(images)

    return ScoreModel(
        scoring if (least, most) == (1, None) else in_batches_of(scoring, least, most),
        _NAME,
        module=module,
        black_box=bool(options.black_box),
        input_shape=size,
        activation=activation,
    )


def _input(
    program: ExportedProgram, name: str
) -> tuple[tuple[int | None, int | None, int | None], int, int | None]:
    """(C, H, W) of the one input, and the least and most images at a time."""
    wanted = program.graph_signature.user_inputs
    values = [
        node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].ndim != 4:
        raise UserError(
            f"{name} takes {len(wanted)} inputs that are no images; export a model with one input "
            "of images (N, C, H, W)."
        )
    count, *sides = values[0].shape
    channels, height, width = (side if isinstance(side, int) else None for side in sides)
    if isinstance(count, int):
        return (channels, height, width), count, count
    bounds = [
        limits for symbol, limits in program.range_constraints.items() if str(symbol) == str(count)
    ]
    least, most = (bounds[0].lower, bounds[0].upper) if bounds else (1, math.inf)
    unbounded = str(most) in ("int_oo", "inf") or int(most) > 2**20
    return (channels, height, width), max(1, int(least)), None if unbounded else int(most)


def _is_program(value: Any) -> bool:
    return isinstance(value, ExportedProgram)


def _takes(spec: str) -> bool:
    return spec.lower().endswith(".pt2")


ADAPTER = Adapter(
    name=_NAME,
    spec="model.pt2",
    meaning="a file of torch.export.save",
    takes_spec=_takes,
    load=load_program,
    takes=_is_program,
    wrap=wrap_program,
    why_trust=_WHY,
)


Kind = Literal["exported program", "torchscript", "pickle"]

PICKLES = (".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin", ".pt.tar")


def kind_of(path: Path) -> Kind:
    """The kind of a file that torch wrote.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name the file of a model.")
    if not zipfile.is_zipfile(path):
        return "pickle"  # torch's own format before version 1.6, and every other
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}); export it again.") from None
    if "archive_format" in names or "serialized_exported_program.json" in archive.namelist():
        return "exported program"
    return "torchscript" if "constants.pkl" in names else "pickle"


def refuse_pickle(path: str | Path) -> UserError:
    """The error for a file that only unpickling could load."""
    return UserError(
        f"{path} holds pickled Python objects or bare weights, which ifnormal never loads, because "
        "unpickling runs whatever code the file contains; export the model with torch.export.save "
        "(.pt2) or to ONNX, or build it in a module of yours and name package.module:attribute."
    )


def require_trust(spec: str, trust: bool, why: str) -> None:
    """Refuse a file that runs code when it is loaded, unless the user trusts it.

    Raises:
        UserError: it is not trusted.
    """
    if not trust:
        raise UserError(
            f"{spec} needs trust, because {why}; if it comes from someone you trust, give --trust "
            "(in Python trust=True)."
        )
