"""The generator as ONNX: the same images under another runtime, or no file at all."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float, to_pil
from ifnormal.config import GeneratorConfig
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.explainers import onnx_export
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.onnx_export import OPSET, TOLERANCE, Exported, export_generator
from ifnormal.training.networks.generator import Generator
from known_detectors import mean_color, red, tiny
from known_explainers import built_in_explainer, color_explainer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("onnx") / "new" / "generator.onnx"
    return export_generator(color_explainer(), path, red(5, seed=9))


def run(path: Path, images: Tensor, target: float, concept: int) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {
        "images": images.numpy(),
        "target": np.full(len(images), target, np.float32),
        "concept": np.full(len(images), concept, np.int64),
    }
    return torch.from_numpy(session.run(["edited"], inputs)[0])


def test_says_how_near_it_comes(exported: Exported) -> None:
    assert exported.edits == 5 * 2 * 3, "five images, two concepts, three targets"
    assert 0 <= exported.largest_difference < 1e-4
    assert exported.other_pixels < 0.01
    assert exported.opset == OPSET
    assert [path.name for path in exported.path.parent.iterdir()] == ["generator.onnx"]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("target", "concept"), [(0.0, 0), (0.0, 1), (0.7, 0)])
def test_the_same_images_for_any_number(
    exported: Exported, count: int, target: float, concept: int
) -> None:
    explainer, images = color_explainer(), to_float(red(count, seed=count))
    here, there = (
        explainer.edit(images, target, concept),
        run(exported.path, images, target, concept),
    )
    torch.testing.assert_close(there, here, atol=1e-5, rtol=0)
    assert (there - images).abs().max() > 0.01, "it edits"


def test_steered_by_each_image_by_itself(exported: Exported) -> None:
    images = to_float(red(2, seed=3))
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (mixed,) = session.run(
        None,
        {
            "images": images.numpy(),
            "target": np.array([0.0, 1.0], np.float32),
            "concept": np.array([1, 0]),
        },
    )
    assert np.allclose(mixed[0], run(exported.path, images[:1], 0.0, 1)[0], atol=1e-6)
    assert np.allclose(mixed[1], run(exported.path, images[1:], 1.0, 0)[0], atol=1e-6)


def test_the_file_tells_what_it_is(exported: Exported) -> None:
    model = onnx.load(exported.path)
    onnx.checker.check_model(model)
    assert model.producer_name == "ifnormal"
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {OPSET}
    facts = json.loads({p.key: p.value for p in model.metadata_props}["ifnormal"])
    assert (facts["shape"], facts["concepts"]) == ([3, 16, 16], 2)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT in kinds
    assert not kinds & {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16}


def test_leaves_the_explainer_as_it_was(exported: Exported) -> None:
    explainer = color_explainer()
    assert {p.dtype for p in explainer.generator.parameters()} == {torch.float32}
    assert explainer.generator is color_explainer().generator
    assert exported.path.is_file()


class TestRefusals:
    def test_another_image_is_no_export(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnx_export, "_packed", lambda *_: b"")
        for wrong in (2 * TOLERANCE, float("nan")):
            monkeypatch.setattr(onnx_export, "_compare", lambda *_, w=wrong: (w, 0.5, 1))
            with pytest.raises(UserError, match="differ by"):
                export_generator(color_explainer(), tmp_path / "g.onnx")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("shape", [(2, 3, 16, 20), (0, 3, 16, 16), (3, 16, 16)], ids=str)
    def test_images_that_do_not_fit(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        with pytest.raises(UserError, match=r"3, 16, 16"):
            export_generator(
                color_explainer(), tmp_path / "g.onnx", torch.zeros(shape, dtype=torch.uint8)
            )

    def test_not_fitted(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="not fitted"):
            export_generator(Explainer(mean_color(), tiny()), tmp_path / "g.onnx")

    def test_a_missing_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(UserError, match=r"ifnormal\[export\]"):
            export_generator(color_explainer(), tmp_path / "g.onnx")


def test_from_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built_in_explainer().save(tmp_path / "explainer")
    to_pil(red(1)[0]).save(tmp_path / "photo.png")
    arguments = [str(tmp_path / "photo.png"), "--explainer", str(tmp_path / "explainer")]
    assert main(["export", *arguments, "--out", str(tmp_path / "g.onnx")]) == 0
    output = capfd.readouterr()
    assert re.search(r"Compared 6 edits of 1 images: .* at most \d\.\de-\d+", output.out)
    assert "g.onnx (ONNX, opset 20)" in output.out
    assert output.err == "", "the exporter keeps its notes to itself"
    assert (tmp_path / "g.onnx").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("IFNORMAL_DATA"), reason="IFNORMAL_DATA is not set")
@pytest.mark.parametrize(("name", "side"), [("gtsrb", 32), ("mvtec_bottle", 128)])
def test_on_real_images_with_the_default_generator(name: str, side: int, tmp_path: Path) -> None:
    """With weights that edit visibly: an untrained generator returns its input."""
    images = ParquetImages(Path(os.environ["IFNORMAL_DATA"]) / name).read("test").images[:6]
    assert images.shape[1:] == (3, side, side)
    explainer = Explainer(mean_color((3, side, side)), tiny(generator=GeneratorConfig()))
    explainer._generator = Generator(3, 2, explainer.config.generator, side).eval()
    explainer._classifier = color_explainer()._classifier
    torch.nn.init.normal_(explainer.generator.last.weight, std=0.02)
    done = export_generator(explainer, tmp_path / "g.onnx", images)
    print(f"{name}: {done}")
    assert done.largest_difference < 1e-4
    floats = to_float(images)
    assert (run(done.path, floats, 0.0, 0) - floats).abs().mean() > 0.01
