"""ONNX files: differentiable through onnx2torch, compared with onnxruntime."""

from __future__ import annotations

import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.batching import in_batches_of, takes_batches
from ifnormal.detectors.adapted.adapters.features import extractor
from ifnormal.detectors.adapted.adapters.onnx_graph import (
    external_files,
    input_shape,
    lowered,
    only_output,
    remove_activation,
    score_output,
)
from ifnormal.detectors.adapted.adapters.output import first_line, scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel, Scoring

if TYPE_CHECKING:
    from onnx import ModelProto

_NAME = "onnx"
_CONVERTER = "onnx2torch"
_PACKAGES = ("onnx", "onnxruntime", _CONVERTER)
# The side of trial images where the graph does not fix one.
_SIDE = 64


def load_onnx(spec: str, options: AdapterOptions) -> ScoreModel:
    """Load an ONNX file with one input of images; only its operators are run.

    The score is the output called `pred_score` or the like, else the maximum of one called
    `anomaly_map`, else the only output. A clip or sigmoid at its end is removed, and applied where
    scores are shown; see `OutputActivation`. A black box runs in onnxruntime alone.

    Raises:
        UserError: a package is missing, the file is damaged, or an operator is not known.
    """
    # Only a graph that is to be made differentiable is converted.
    unused = {_CONVERTER} if options.black_box else set()
    if missing := [name for name in ADAPTER.missing() if name not in unused]:
        raise UserError(
            f"{spec} needs {', '.join(missing)}, which is not installed; run pip install "
            '"ifnormal[onnx]".'
        )
    path = Path(spec)
    model = _read(path)
    batch, channels, height, width = input_shape(model, spec)
    shape, chosen = (channels, height, width), score_output(model, spec)
    engine, beside = _engine(path, chosen, batch, spec), external_files(path)
    facts = {"output": chosen, "opset": max(o.version for o in model.opset_import)}
    if options.black_box:

        def by_engine(images: Tensor) -> tuple[Tensor, None]:
            return engine(images), None

        return ScoreModel(
            by_engine,
            _NAME,
            black_box=True,
            input_shape=shape,
            file=path,
            more_files=beside,
            facts=facts,
        )
    only = only_output(model, chosen)
    activation = remove_activation(only, chosen)
    module = _convert(only, spec)
    extract = extractor(module, options.features)

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        with warnings.catch_warnings():
            # The converter indexes with lists, which torch warns of at every run.
            warnings.simplefilter("ignore", UserWarning)
            output = module(images)
        return scores_of(output, len(images), spec), extract(images)

    # A file exported for a fixed number of images usually takes other numbers once converted.
    is_free = _takes_larger_batches(scoring, batch, shape, spec)
    return ScoreModel(
        scoring if is_free or batch is None else in_batches_of(scoring, batch, batch),
        _NAME,
        module=module,
        input_shape=shape,
        file=path,
        more_files=beside,
        reference=engine,
        activation=activation,
        facts=facts,
    )


def _takes_larger_batches(
    scoring: Scoring,
    batch: int | None,
    shape: tuple[int | None, int | None, int | None],
    spec: str,
) -> bool:
    """Whether the converted graph scores noise in a batch as it does one image at a time."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    size = (2 * (batch or 1), channels or 3, height or _SIDE, width or _SIDE)
    try:
        return takes_batches(scoring, torch.rand(size, generator=generator))
    except Exception as error:  # a converted graph fails in its own ways
        if None in (height, width) and not isinstance(error, NotImplementedError):
            return True  # the size of the noise was a guess, so that this proves nothing
        raise _not_differentiable(spec, error) from None


def _read(path: Path) -> ModelProto:
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(str(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name an ONNX file.") from None
    except Exception as error:  # protobuf, checker and file errors have no common class
        raise UserError(
            f"{path} cannot be read as ONNX ({first_line(error)}); export it again."
        ) from None
    return model


def _engine(path: Path, output: str, batch: int | None, name: str) -> Callable[[Tensor], Tensor]:
    """Scores (N,) of images by onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors are made in C++ and share no class
        raise UserError(
            f"onnxruntime cannot run {path} ({first_line(error)}); export it again."
        ) from None
    entry = session.get_inputs()[0]
    numbers = {"tensor(float16)": torch.float16, "tensor(double)": torch.float64}.get(
        entry.type, torch.float32
    )

    def scoring(images: Tensor) -> tuple[Tensor, None]:
        array = images.detach().cpu().to(numbers).numpy()
        (found,) = session.run([output], {entry.name: array})
        return scores_of(found, len(images), name).float(), None

    scored = scoring if batch is None else in_batches_of(scoring, batch, batch)

    def engine(images: Tensor) -> Tensor:
        return scored(images)[0].to(images.device)

    return engine


def _convert(model: ModelProto, spec: str) -> nn.Module:
    """The model as a torch module: converted as it is, else with its operators replaced."""
    refusals: list[Exception] = []
    for form in (lambda: model, lambda: lowered(model)):
        try:
            with _torchvision_or_stub(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from onnx2torch import convert

                module: nn.Module = convert(form())  # type: ignore[no-untyped-call]
                return module
        except Exception as error:  # the converter fails in whatever way a graph surprises it
            refusals.append(error)
    raise _not_differentiable(spec, refusals[-1])


def _not_differentiable(spec: str, error: Exception) -> UserError:
    found = re.search(r"operation_type='(\w+)', version=(\d+)", str(error))
    what = f"the operator {found[1]} of version {found[2]}" if found else first_line(error)
    return UserError(
        f"{spec} cannot be made differentiable, onnx2torch does not know {what}; export it with "
        "an older opset_version (13 to 17) or as .pt2, or explain it as a black box "
        "(black_box=True, --black-box)."
        if found
        else f"{spec} cannot be made differentiable by onnx2torch ({what}); export it as .pt2, or "
        "explain it as a black box (black_box=True, --black-box)."
    )


@contextmanager
def _torchvision_or_stub() -> Iterator[None]:
    """Make onnx2torch importable where torchvision is missing, or built for another torch.

    onnx2torch imports torchvision only for NonMaxSuppression and RoiAlign (node_converters/nms.py
    and roialign.py), which no anomaly detector has. A stub module replaces it during the import.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pass
    else:
        yield
        return
    stub, operators = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    stub.ops = operators  # type: ignore[attr-defined]
    operators.roi_align = None  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torchvision", "torchvision.ops")}
    sys.modules.update({"torchvision": stub, "torchvision.ops": operators})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _not_an_object(value: Any, options: AdapterOptions) -> ScoreModel:
    raise UserError("An ONNX model is read from its file; give the path of it as the detector.")


ADAPTER = Adapter(
    name=_NAME,
    spec="model.onnx",
    meaning="an ONNX file, made differentiable by onnx2torch and compared with onnxruntime",
    takes_spec=lambda spec: spec.lower().endswith(".onnx"),
    load=load_onnx,
    takes=lambda value: type(value).__name__ == "ModelProto",
    wrap=_not_an_object,
    extra="onnx",
    packages=_PACKAGES,
)
