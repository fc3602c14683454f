"""Models as users bring them, in every form that an adapter takes, all about how red it is."""

from __future__ import annotations

import warnings
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.detectors.adapted.adapters import ADAPTERS
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.loading import load_detector
from known_detectors import COLOR, blue

Prediction = namedtuple("Prediction", ["pred_score", "pred_label", "anomaly_map", "pred_mask"])
NAMES = list(Prediction._fields)

_MISSING = [name for adapter in ADAPTERS for name in adapter.missing()]
needs_adapters = pytest.mark.skipif(bool(_MISSING), reason=f"{', '.join(_MISSING)} not installed")


class RedNetwork(nn.Module):
    """A convolutional network whose score is, up to a few per mille, how red an image is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)
        )
        self.head = nn.Linear(8, 1)

    def forward(self, images: Tensor) -> Tensor:
        redness = (images[:, 0] - images[:, 2]).mean((1, 2))
        detail = self.head(F.relu(self.body(images)).mean((2, 3)))[:, 0]
        return redness + 0.01 * detail


class Anomalib(nn.Module):
    """What an export of anomalib computes: a normalised, clipped score and its companions."""

    def __init__(self, width: float = 0.2) -> None:
        super().__init__()
        self.network, self.width = RedNetwork(), width

    def forward(self, images: Tensor) -> Prediction:
        score = ((self.network(images) - 0.05) / self.width + 0.5).clamp(min=0, max=1)
        anomaly_map = F.interpolate(images[:, :1] - images[:, 2:], scale_factor=2.0)
        return Prediction(score, score > 0.5, anomaly_map, anomaly_map > 0.5)


def export_onnx(
    module: nn.Module, path: Path, outputs: list[str], images: Tensor, dynamic: bool = True
) -> Path:
    """Write an ONNX file as anomalib does: TorchScript-based, opset 14."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (images,),
            str(path),
            input_names=["input"],
            output_names=outputs,
            opset_version=14,
            dynamo=False,
            dynamic_axes={"input": {0: "batch"}} if dynamic else None,
        )
    return path


def export_program(module: nn.Module, path: Path, images: Tensor, dynamic: bool = True) -> Path:
    """Write a `.pt2` file."""
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(module.eval(), (images,), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def script(module: nn.Module, path: Path, images: Tensor) -> Path:
    """Write a TorchScript `.pt` file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module.eval(), (images,)), str(path))
    return path


class PlainTuple(nn.Module):
    """The outputs of another module as a plain tuple, which every export takes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.module(images))


class LightningLike(nn.Module):
    """What ifnormal reads of a trained anomalib model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        network = RedNetwork()
        self.model.network = network
        self.model.forward = lambda images: Prediction(network(images), None, None, None)  # type: ignore[method-assign]
        self.pre_processor = nn.Identity()
        self.post_processor = nn.Module()
        self.post_processor.image_threshold = torch.tensor(0.05)  # type: ignore[assignment]


def support_vectors() -> Any:
    """A one-class support vector machine fitted on blue images, by their pixels."""
    from sklearn.svm import OneClassSVM

    pixels = blue(40).permute(0, 2, 3, 1).flatten(1).numpy() / 255
    return OneClassSVM(nu=0.1).fit(pixels)


def mean_colors(images: Tensor) -> Tensor:
    """Features of an image: its mean colours."""
    return images.mean((2, 3))


class PyodLike:
    """PyOD's conventions: high is anomalous, and the threshold is known."""

    decision_scores_ = np.zeros(3)
    threshold_ = 0.07

    def decision_function(self, rows: Any) -> Any:
        pixels = np.asarray(rows).reshape(len(rows), -1, 3)
        return (pixels[:, :, 0] - pixels[:, :, 2]).mean(1)


def redness(images: Tensor) -> Tensor:
    """A plain function with a gradient."""
    return (images[:, 0] - images[:, 2]).mean((1, 2))


def redness_in_numpy(images: Tensor) -> list[float]:
    """A plain function without."""
    return [float(image[0].mean() - image[2].mean()) for image in images.numpy()]


def _from_file(write: Callable[[Path], Path], name: str) -> Callable[[Path], AdaptedDetector]:
    def make(folder: Path) -> AdaptedDetector:
        detector = load_detector(str(write(folder / name)), trust=True, shape=COLOR)
        assert isinstance(detector, AdaptedDetector)
        return detector

    return make


_SOME = torch.rand(2, *COLOR)

# One or more of every adapter: a function that makes it, given a folder to write files into.
MAKERS: dict[str, Callable[[Path], AdaptedDetector]] = {
    "torch module": lambda _: adapt(RedNetwork(), shape=COLOR),
    "torch module, anomalib outputs": lambda _: adapt(Anomalib(width=4), shape=COLOR),
    "anomalib": lambda _: adapt(LightningLike(), shape=COLOR),
    "python function": lambda _: adapt(redness, shape=COLOR),
    "python function, black box": lambda _: adapt(redness_in_numpy, shape=COLOR, black_box=True),
    "estimator": lambda _: adapt(support_vectors(), shape=COLOR),
    "estimator, PyOD": lambda _: adapt(PyodLike(), shape=COLOR),
    "python object": lambda _: load_detector("users_models:RedNetwork", shape=COLOR),  # type: ignore[dict-item,return-value]
    "onnx": _from_file(lambda p: export_onnx(RedNetwork(), p, ["score"], _SOME), "red.onnx"),
    "onnx, anomalib outputs": _from_file(
        lambda p: export_onnx(Anomalib(), p, NAMES, _SOME), "anomalib.onnx"
    ),
    "exported program": _from_file(lambda p: export_program(RedNetwork(), p, _SOME), "red.pt2"),
    "exported program, anomalib outputs": _from_file(
        lambda p: export_program(PlainTuple(Anomalib()), p, _SOME), "anomalib.pt2"
    ),
    "torchscript": _from_file(lambda p: script(RedNetwork(), p, _SOME), "red.pt"),
}
