"""The generator as an ONNX file that any runtime can run, checked against the original."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.common.storage import write_atomic
from ifnormal.training.networks.generator import Generator
from ifnormal.version import __version__

if TYPE_CHECKING:
    from ifnormal.explainers.explainer import Explainer

# Old enough for the runtimes in use, new enough that nothing is converted down.
OPSET = 20
# Half a level of an 8-bit pixel: beyond it the file would show other images.
TOLERANCE = 0.5 / 255
_TARGETS = (0.0, 0.5, 1.0)
_NOISE_IMAGES = 4


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it comes to the original.

    Attributes:
        path: the ONNX file.
        opset: the version of the ONNX operators in it.
        edits: how many edited images were compared.
        largest_difference: the largest one of any value in [0, 1].
        other_pixels: share of 8-bit values that differ.
    """

    path: Path
    opset: int
    edits: int
    largest_difference: float
    other_pixels: float


def export_generator(explainer: Explainer, path: Path, images: Tensor | None = None) -> Exported:
    """Write the generator as ONNX, after comparing its edits with the original's.

    The file takes `images` (N, C, H, W) float32 in [0, 1], `target` (N,) float32, the score α that
    the detector shall give, and `concept` (N,) int64, k in 0..K-1, for any N; it gives `edited`,
    (N, C, H, W) float32 in [0, 1]. Its weights are float32, its operators those of opset 20.

    Args:
        explainer: a fitted one.
        path: of the ONNX file.
        images: (N, C, H, W) uint8 to compare on, best real ones; without any, noise.

    Raises:
        UserError: a package is missing, the images do not fit, or the edits differ.
    """
    runtime = _packages()
    generator, shape = explainer.generator, tuple(explainer.detector.shape)
    if images is None:
        rng = torch.Generator().manual_seed(0)
        images = torch.randint(256, (_NOISE_IMAGES, *shape), generator=rng).to(torch.uint8)
    if images.ndim != 4 or len(images) == 0 or tuple(images.shape[1:]) != shape:
        raise UserError(
            f"The explainer edits (N, {', '.join(map(str, shape))}) images, those to compare on "
            f"are {tuple(images.shape)}; resize them."
        )
    facts = {"ifnormal_version": __version__, "shape": shape, "concepts": generator.concepts}
    editor = _Editor(generator).cpu().float().eval().requires_grad_(False)
    packed = _packed(editor, shape, facts)
    largest, other, edits = _compare(runtime, packed, editor, to_float(images), generator.concepts)
    if not largest <= TOLERANCE:  # also where it is NaN
        raise UserError(
            f"The edits of the exported generator differ by {largest:.2g} from the original's; "
            "update torch, onnxscript and onnxruntime, then export again."
        )
    return Exported(write_atomic(path, packed), OPSET, edits, largest, other)


class _Editor(nn.Module):
    """A copy of the generator that returns only the edited images."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = deepcopy(generator)

    def forward(self, images: Tensor, target: Tensor, concept: Tensor) -> Tensor:
        edited: Tensor = self.generator(images, target, concept)[0]
        return edited


def _packed(editor: nn.Module, shape: tuple[int, ...], facts: dict[str, Any]) -> bytes:
    """The editor as the bytes of an ONNX file."""
    count = torch.export.Dim("count")
    # Two images: of one the exporter would conclude that there is never another.
    example = (torch.rand(2, *shape), torch.zeros(2), torch.zeros(2, dtype=torch.int64))
    with _quiet():
        program = torch.onnx.export(
            editor,
            example,
            dynamo=True,
            dynamic_shapes=({0: count}, {0: count}, {0: count}),
            input_names=["images", "target", "concept"],
            output_names=["edited"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.producer_name, model.producer_version = "ifnormal", __version__
    entry = model.metadata_props.add()
    entry.key, entry.value = "ifnormal", json.dumps(facts)
    packed: bytes = model.SerializeToString(deterministic=True)
    return packed


def _compare(
    runtime: ModuleType, packed: bytes, editor: nn.Module, images: Tensor, concepts: int
) -> tuple[float, float, int]:
    """Largest difference, share of other 8-bit values, and number of edits compared."""
    session = runtime.InferenceSession(packed, providers=["CPUExecutionProvider"])
    largest, other, values, edits = 0.0, 0, 0, 0
    for concept in range(concepts):
        for target in _TARGETS:
            for part in images.split(32):
                inputs = {
                    "images": part,
                    "target": torch.full((len(part),), target),
                    "concept": torch.full((len(part),), concept),
                }
                (answer,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
                there = torch.from_numpy(answer)
                with torch.inference_mode():
                    here = editor(*inputs.values())
                largest = max(largest, (here - there).abs().max().nan_to_num(torch.inf).item())
                other += int((quantize(here) != quantize(there)).sum())
                values, edits = values + here.numel(), edits + len(part)
    return largest, other / values, edits


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of packages it does without and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _packages() -> ModuleType:
    """onnxruntime, after making sure that what the exporter needs is there too."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"The export needs onnx, onnxscript and onnxruntime ({error}); "
            'run pip install "ifnormal[export]".'
        ) from None
    return onnxruntime
