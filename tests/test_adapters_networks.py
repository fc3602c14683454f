"""Networks of the usual kinds through both ONNX exporters and as exported programs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.detectors.adapted.adapters.output import scores_of
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import AdaptedDetector
from ifnormal.detectors.loading import load_detector
from users_models import export_program, needs_adapters

pytestmark = needs_adapters

SHAPE = (3, 32, 32)


class Residual(nn.Module):
    """A residual classifier with a sigmoid at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = F.relu(maps + self.block(maps))
        return self.head(F.adaptive_avg_pool2d(maps, 1).flatten(1)).sigmoid()[:, 0]


class Autoencoder(nn.Module):
    """The error of rebuilding an image."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.SiLU()
        )
        self.decode = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.GELU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return (self.decode(self.encode(images)) - images).square().mean((1, 2, 3))


class Transformer(nn.Module):
    """Patches, attention, layer norm, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.layer = nn.TransformerEncoderLayer(
            16, 2, 32, batch_first=True, activation="gelu", dropout=0.0
        )
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.layer(self.patches(images).flatten(2).transpose(1, 2))
        return self.head(self.norm(tokens).mean(1))[:, 0]


class MemoryBank(nn.Module):
    """Distance of patches to their nearest neighbours, as in PatchCore, with a map."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 3, 2, 1)
        self.register_buffer("bank", torch.randn(50, 8))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        patches = F.avg_pool2d(self.embed(images), 3, 1, 1).permute(0, 2, 3, 1).reshape(-1, 8)
        nearest = torch.cdist(patches, self.bank).topk(1, largest=False, dim=1)[0]
        maps = nearest.reshape(images.shape[0], 1, 16, 16)
        return maps.flatten(1).amax(1), F.interpolate(maps, size=(32, 32), mode="bilinear")


class OtherNorms(nn.Module):
    """Group and instance norms, reflection, Mish, ELU, a global maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 1, 1, padding_mode="reflect"),
            nn.GroupNorm(2, 8),
            nn.Mish(),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.InstanceNorm2d(8),
            nn.ELU(),
            nn.AdaptiveMaxPool2d(1),
        )
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1)).norm(dim=1)


def write(kind: str, network: nn.Module, path: Path) -> Path:
    images = torch.rand(2, *SHAPE)
    if kind == "pt2":
        return export_program(network, path, images)
    outputs = ["pred_score", "anomaly_map"] if isinstance(network, MemoryBank) else ["score"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "dynamo":
            torch.onnx.export(
                network,
                (images,),
                str(path),
                output_names=outputs,
                dynamo=True,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        else:
            torch.onnx.export(
                network,
                (images,),
                str(path),
                input_names=["input"],
                output_names=outputs,
                dynamo=False,
                opset_version=16,
                dynamic_axes={"input": {0: "batch"}},
            )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dynamo", "torchscript", "pt2"])
@pytest.mark.parametrize(
    "network",
    [Residual, Autoencoder, Transformer, MemoryBank, OtherNorms],
    ids=lambda n: n.__name__,
)
def test_scores_as_the_original_does(network: type[nn.Module], kind: str, tmp_path: Path) -> None:
    original = network().eval()
    path = write(kind, original, tmp_path / f"model.{'pt2' if kind == 'pt2' else 'onnx'}")
    detector = load_detector(str(path), trust=True, shape=SHAPE)
    assert isinstance(detector, AdaptedDetector)
    images = torch.randint(0, 256, (9, *SHAPE), dtype=torch.uint8)
    facts = check_contract(detector, images)
    assert kind == "pt2" or facts["reference"]["largest"] < 1e-5
    assert facts["without_gradient"] == 0
    with torch.no_grad():
        expected = scores_of(original(images / 255), 9, "original")
        torch.testing.assert_close(detector.own(images / 255), expected, atol=1e-5, rtol=1e-4)
    assert bool(detector.model.activation.description) == isinstance(original, Residual)
