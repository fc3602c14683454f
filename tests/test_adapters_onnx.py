"""ONNX files: as onnxruntime scores them, with a gradient, and what cannot be converted."""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path

import pytest
import torch

import users_models
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.adapters import Adapter
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.fingerprint import detector_fingerprint
from ifnormal.detectors.loading import load_detector
from known_detectors import COLOR, blue, red
from users_models import Anomalib, RedNetwork, export_onnx, needs_adapters

pytestmark = needs_adapters


class TestOnnx:
    def test_is_compared_with_onnxruntime(self, tmp_path: Path) -> None:
        path = export_onnx(RedNetwork(), tmp_path / "red.onnx", ["score"], torch.rand(2, *COLOR))
        detector = load_detector(str(path), shape=COLOR)
        assert isinstance(detector, AdaptedDetector)
        facts = check_contract(detector, blue(16))
        assert facts["reference"]["largest"] < 1e-5
        with torch.no_grad():  # a weight that onnxruntime's file does not have
            next(detector.parameters()).add_(0.5)
        with pytest.raises(UserError, match=r"in onnxruntime but .* black box"):
            check_contract(detector, blue(16))

    def test_scores_are_those_of_the_original(self, tmp_path: Path) -> None:
        images = to_float(blue(7))
        path = export_onnx(RedNetwork(), tmp_path / "red.onnx", ["score"], images[:2])
        converted = load_detector(str(path), shape=COLOR)
        assert isinstance(converted, AdaptedDetector)
        original = adapt(RedNetwork(), shape=COLOR)
        torch.testing.assert_close(converted.own(images), original.own(images), atol=1e-5, rtol=0)

    def test_made_for_one_image_takes_any_number(self, tmp_path: Path) -> None:
        images = to_float(blue(7))
        path = export_onnx(
            RedNetwork(), tmp_path / "one.onnx", ["score"], images[:1], dynamic=False
        )
        detector = load_detector(str(path), shape=COLOR)
        assert isinstance(detector, AdaptedDetector)
        assert detector.model.input_shape == COLOR
        facts = check_contract(detector, blue(7))
        assert facts["reference"]["largest"] < 1e-5

    def test_a_clip_at_the_end_does_not_swallow_the_gradient(self, tmp_path: Path) -> None:
        images = to_float(red(6))
        path = export_onnx(Anomalib(), tmp_path / "a.onnx", users_models.NAMES, images[:2])
        detector = load_detector(str(path), shape=COLOR)
        assert isinstance(detector, AdaptedDetector)
        assert detector.model.activation.description == "clip to [0, 1]"
        assert detector.own(images).tolist() == [1.0] * 6  # as the user's own program shows them
        leaf = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(detector.inspect(leaf)[0].sum(), leaf)
        assert (slope.flatten(1).norm(dim=1) > 0).all()
        assert detector.facts["output"] == "pred_score"

    def test_only_the_gradient_needs_the_converter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = export_onnx(RedNetwork(), tmp_path / "red.onnx", ["score"], torch.rand(2, *COLOR))
        monkeypatch.setattr(Adapter, "missing", lambda adapter: ["onnx2torch"])
        detector = load_detector(str(path), shape=COLOR, black_box=True)
        assert detector.inspect(to_float(blue(3)))[0].shape == (3,)
        with pytest.raises(UserError, match="needs onnx2torch, which is not installed"):
            load_detector(str(path), shape=COLOR)

    def test_a_file_is_known_by_its_hash(self, tmp_path: Path) -> None:
        path = export_onnx(RedNetwork(), tmp_path / "red.onnx", ["score"], torch.rand(2, *COLOR))
        detector = load_detector(str(path), shape=COLOR, black_box=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert detector_fingerprint(detector)["sha256"] == digest

    def test_as_a_black_box_it_is_onnxruntime_alone(self, tmp_path: Path) -> None:
        images = to_float(blue(5))
        path = export_onnx(RedNetwork(), tmp_path / "red.onnx", ["score"], images[:2])
        detector = load_detector(str(path), shape=COLOR, black_box=True)
        assert isinstance(detector, AdaptedDetector)
        assert detector.is_black_box
        assert detector.model.module is None
        expected = adapt(RedNetwork(), shape=COLOR).own(images)
        torch.testing.assert_close(detector.own(images), expected, atol=1e-5, rtol=0)

    @pytest.mark.slow
    def test_the_newer_exporter_too(self, tmp_path: Path) -> None:
        images = torch.rand(2, *COLOR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Anomalib().eval(),
                (images,),
                str(tmp_path / "new.onnx"),
                output_names=users_models.NAMES,
                dynamo=True,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        detector = load_detector(str(tmp_path / "new.onnx"), shape=COLOR)
        assert isinstance(detector, AdaptedDetector)
        assert detector.facts["opset"] > 17
        assert check_contract(detector, torch.cat([blue(8), red(8)]))["reference"]["largest"] < 1e-5

    def test_torchvision_is_not_pretended_afterwards(self, tmp_path: Path) -> None:
        path = export_onnx(RedNetwork(), tmp_path / "m.onnx", ["score"], torch.rand(2, *COLOR))
        load_detector(str(path), shape=COLOR)
        module = sys.modules.get("torchvision")
        assert module is None or getattr(module, "__file__", None)

    def test_an_unknown_operator_names_the_way_out(self, tmp_path: Path) -> None:
        import onnx
        from onnx import TensorProto, helper

        shape = ["N", 3, 16, 16]
        graph = helper.make_graph(
            [
                helper.make_node("Hardmax", ["x"], ["y"]),
                helper.make_node("ReduceMean", ["y"], ["s"], axes=[1, 2, 3], keepdims=0),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N"])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / "odd.onnx")
        with pytest.raises(UserError, match=r"does not know the operator Hardmax .* black box"):
            load_detector(str(tmp_path / "odd.onnx"))
        detector = load_detector(str(tmp_path / "odd.onnx"), black_box=True)
        assert detector.shape == COLOR

    @pytest.mark.parametrize("content", [b"", b"no model at all"])
    def test_damaged_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.onnx"):
            load_detector(str(tmp_path / "bad.onnx"))
        with pytest.raises(UserError, match="does not exist"):
            load_detector(str(tmp_path / "none.onnx"))

    def test_outputs_without_a_known_name(self, tmp_path: Path) -> None:
        path = export_onnx(
            Anomalib(), tmp_path / "a.onnx", ["a", "b", "c", "d"], torch.rand(2, *COLOR)
        )
        with pytest.raises(UserError, match="outputs a, b, c, d and none is called pred_score"):
            load_detector(str(path))
