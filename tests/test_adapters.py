"""One contract for every adapter: wrap, score, gradient, save; and what each is known for."""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import users_models
from ifnormal.cli import main
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted import AdaptedDetector, adapt
from ifnormal.detectors.adapters import ADAPTERS, Adapter
from ifnormal.detectors.adapters.features import described, narrowed, pooled
from ifnormal.detectors.adapters.output import scores_of
from ifnormal.detectors.contract import check_contract
from ifnormal.detectors.detector import higher_is, in_batches, own_scores, own_threshold
from ifnormal.detectors.loading import load_detector
from ifnormal.detectors.saving import load_adapted
from ifnormal.errors import UserError
from ifnormal.identity import detector_identity
from ifnormal.pixels import to_float
from known_detectors import COLOR, blue, red
from users_models import MAKERS, Anomalib, RedNetwork, export_onnx, export_program, script

if missing := [name for adapter in ADAPTERS for name in adapter.missing()]:
    pytest.skip(f"{', '.join(missing)} not installed", allow_module_level=True)


@pytest.fixture(scope="module", params=MAKERS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AdaptedDetector:
    folder = tmp_path_factory.mktemp("model")
    return MAKERS[request.param](folder).calibrated(blue(), red())


def test_every_adapter_is_under_test() -> None:
    assert {adapter.name for adapter in ADAPTERS} == {name.split(",")[0] for name in MAKERS}


class TestContract:
    def test_is_met(self, made: AdaptedDetector) -> None:
        facts = check_contract(made, torch.cat([blue(12, 3), red(12, 4)]))
        assert facts["alone"] < 1e-5
        assert facts["twice"] == 0
        assert made.is_black_box or facts["without_gradient"] == 0

    def test_tells_red_from_blue(self, made: AdaptedDetector) -> None:
        normal, odd = in_batches(made, blue(12, 3)), in_batches(made, red(12, 4))
        assert odd.min() > normal.max()
        assert (odd > made.threshold).all()

    def test_scores_have_their_own_units(self, made: AdaptedDetector) -> None:
        images = to_float(torch.cat([blue(12, 3), red(12, 4)]))
        with torch.no_grad():
            own, (log_odds, _) = made.own(images), made.inspect(images)
        torch.testing.assert_close(own_scores(made, log_odds), own.double(), atol=1e-5, rtol=1e-5)
        beyond = (
            own > own_threshold(made)
            if higher_is(made) == "anomalous"
            else own < own_threshold(made)
        )
        assert torch.equal(made(images) > made.threshold, beyond)

    def test_features_are_one_row_an_image(self, made: AdaptedDetector) -> None:
        images = to_float(blue(5))
        _, features = made.inspect(images)
        assert features.shape[0] == 5
        assert features.shape[1] >= 3
        assert features.dtype == torch.float32
        alone = torch.cat([made.inspect(image[None])[1] for image in images])
        torch.testing.assert_close(alone, features, atol=1e-5, rtol=1e-4)

    def test_a_step_down_the_gradient_lowers_the_score(self, made: AdaptedDetector) -> None:
        if made.is_black_box:
            assert not made(to_float(red(2)).requires_grad_()).requires_grad
            return
        images = to_float(red(6, 4)).requires_grad_()
        log_odds, features = made.inspect(images)
        (slope,) = torch.autograd.grad(log_odds.sum(), images, retain_graph=True)
        assert (slope.flatten(1).norm(dim=1) > 0).all()
        assert (made.inspect(images - 1e-2 * slope.sign())[0] < log_odds).all()
        (of_features,) = torch.autograd.grad(features.sum(), images)
        assert (of_features.flatten(1).norm(dim=1) > 0).all()

    def test_is_frozen(self, made: AdaptedDetector) -> None:
        assert not any(weight.requires_grad for weight in made.parameters())

    def test_is_the_same_after_saving(self, made: AdaptedDetector, tmp_path: Path) -> None:
        made.save(tmp_path)
        images = to_float(torch.cat([blue(4, 3), red(4, 4)]))
        if made.model.spec:
            again = load_detector(str(tmp_path), trust=True)
        else:
            with pytest.raises(UserError, match="was a Python object"):
                load_detector(str(tmp_path))
            again = load_adapted(tmp_path, model=made.model)
        assert isinstance(again, AdaptedDetector)
        assert again.threshold == made.threshold
        assert again.own_threshold == made.own_threshold
        assert again.facts == made.facts
        with torch.no_grad():
            assert torch.equal(again(images), made(images))
            assert torch.equal(again.inspect(images)[1], made.inspect(images)[1])


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
        assert detector.model.ending.described == "clip to [0, 1]"
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
        assert detector_identity(detector)["sha256"] == digest

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


class TestTrust:
    @pytest.mark.parametrize(("name", "write"), [("m.pt2", export_program), ("m.pt", script)])
    def test_files_that_run_code_ask_for_it(self, tmp_path: Path, name: str, write) -> None:  # type: ignore[no-untyped-def]
        path = write(RedNetwork(), tmp_path / name, torch.rand(2, *COLOR))
        with pytest.raises(UserError, match=r"needs trust, because .* --trust") as refusal:
            load_detector(str(path), shape=COLOR)
        assert str(refusal.value).count(".") <= 4  # one sentence, with file names and suffixes

    def test_a_saved_one_asks_again(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, *COLOR))
        load_detector(str(path), trust=True).save(tmp_path / "saved")  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="needs trust"):
            load_detector(str(tmp_path / "saved"))

    @pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pt2", "w.pkl", "w.ckpt"])
    @pytest.mark.parametrize("old", [False, True])
    def test_a_pickle_is_never_loaded(self, tmp_path: Path, name: str, old: bool) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path(tmp_path / "exploded").touch, ())

        torch.save({"weights": Bomb()}, tmp_path / name, _use_new_zipfile_serialization=not old)
        with pytest.raises(UserError, match="never loads"):
            load_detector(str(tmp_path / name), trust=True)
        assert not (tmp_path / "exploded").exists()

    def test_a_program_is_known_by_what_is_in_it(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, *COLOR))
        path.rename(tmp_path / "m.pt")
        detector = load_detector(str(tmp_path / "m.pt"), trust=True)
        assert detector.model.name == "exported program"  # type: ignore[attr-defined]


class TestExportedProgram:
    def test_made_for_some_number_of_images_takes_any(self, tmp_path: Path) -> None:
        path = export_program(
            RedNetwork(), tmp_path / "m.pt2", torch.rand(4, *COLOR), dynamic=False
        )
        detector = load_detector(str(path), trust=True)
        assert isinstance(detector, AdaptedDetector)
        assert detector.shape == COLOR
        images = to_float(blue(7))
        expected = adapt(RedNetwork(), shape=COLOR)
        torch.testing.assert_close(detector.own(images), expected.own(images))
        torch.testing.assert_close(detector.inspect(images)[1], expected.inspect(images)[1])

    def test_a_clip_at_the_end_does_not_swallow_the_gradient(self) -> None:
        program = torch.export.export(
            users_models.PlainTuple(Anomalib()).eval(), (torch.rand(2, *COLOR),)
        )
        detector = adapt(program)
        images = to_float(red(2))
        assert detector.own(images).tolist() == [1.0] * 2
        leaf = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(detector.inspect(leaf)[0].sum(), leaf)
        assert (slope.flatten(1).norm(dim=1) > 0).all()

    def test_a_sigmoid_at_the_end_does_neither(self) -> None:
        class Sure(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return (500 * images.mean((1, 2, 3))).sigmoid()

        program = torch.export.export(Sure(), (torch.rand(2, *COLOR),))
        detector = adapt(program)
        images = torch.full((2, *COLOR), 0.9, requires_grad=True)
        (slope,) = torch.autograd.grad(detector.inspect(images)[0].sum(), images)
        assert (slope > 0).all()
        assert detector.own(images).tolist() == [1, 1]
        (flat,) = torch.autograd.grad(Sure()(images).sum(), images)
        assert flat.count_nonzero() == 0  # which is what it is for


class TestEstimators:
    def test_in_scikit_learn_high_is_normal_and_0_the_threshold(self) -> None:
        from sklearn.covariance import EllipticEnvelope
        from sklearn.neighbors import KernelDensity
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import OneClassSVM

        images = blue(40)
        colors = users_models.mean_colors(to_float(images)).double().numpy()
        for estimator, threshold in (
            (OneClassSVM(nu=0.1), 0.0),
            (EllipticEnvelope(random_state=0), 0.0),
            (make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)), 0.0),
            (KernelDensity(), None),
        ):
            detector = adapt(estimator.fit(colors), shape=COLOR, features=users_models.mean_colors)
            assert detector.higher_is == "normal"
            assert detector.model.threshold == threshold
            done = detector.calibrated(images, red())
            assert done.has_own_threshold == (threshold is not None)
            assert (in_batches(done, red()) > done.threshold).all()
            assert done.inspect(to_float(images))[1].shape == (40, 3)

    def test_a_classifier_of_two_classes_says_the_second(self) -> None:
        from sklearn.linear_model import LogisticRegression

        rows = torch.cat([blue(20), red(20)]).permute(0, 2, 3, 1).flatten(1).numpy() / 255
        classifier = LogisticRegression().fit(rows, [0] * 20 + [1] * 20)
        detector = adapt(classifier, shape=COLOR)
        assert detector.higher_is == "anomalous"
        assert (detector.own(to_float(red(5))) > 0).all()

    def test_pyod_conventions(self) -> None:
        detector = adapt(users_models.PyodLike(), shape=COLOR)
        assert detector.higher_is == "anomalous"
        assert detector.calibrated(blue()).own_threshold == 0.07

    def test_pixels_are_in_the_order_of_an_array_of_an_image(self) -> None:
        seen = []

        class Spy:
            def score_samples(self, rows):  # type: ignore[no-untyped-def]
                seen.append(rows)
                return rows[:, 0]

        images = blue(2)
        adapt(Spy(), shape=COLOR).own(to_float(images))
        assert seen[0][1] == pytest.approx(images[1].permute(1, 2, 0).numpy().ravel() / 255)

    def test_images_of_another_size(self) -> None:
        with pytest.raises(UserError, match="does not take 192 numbers an image"):
            adapt(users_models.support_vectors(), shape=(3, 8, 8)).own(torch.rand(2, 3, 8, 8))

    def test_has_no_gradient(self) -> None:
        with pytest.raises(UserError, match="has no gradient"):
            adapt(users_models.support_vectors(), shape=COLOR, black_box=False)


class TestFunctions:
    def test_leaving_torch_has_to_be_declared(self) -> None:
        detector = adapt(users_models.redness_in_numpy, shape=COLOR)
        with pytest.raises(UserError, match=r"redness_in_numpy leaves torch .*black_box=True"):
            check_contract(detector, blue(8))

    def test_a_list_has_no_gradient(self) -> None:
        detector = adapt(lambda x: [1.0 * i for i in range(len(x))], shape=COLOR)
        with pytest.raises(UserError, match="no gradient; compute in torch throughout"):
            check_contract(detector, blue(1))


class TestPythonObjects:
    def test_what_a_name_stands_for(self) -> None:
        for spec, name in (
            ("users_models:RedNetwork", "torch module"),
            ("users_models:redness", "python function"),
            ("users_models:support_vectors", "estimator"),
            ("users_models:PyodLike", "estimator"),
        ):
            detector = load_detector(spec, shape=COLOR)
            assert detector.model.name == name  # type: ignore[attr-defined]
            assert detector.facts["spec"] == spec  # type: ignore[attr-defined]

    def test_is_found_in_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "just_here.py").write_text(
            "def score(images):\n    return images.mean((1, 2, 3))"
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
        detector = load_detector("just_here:score", shape=COLOR)
        assert detector(torch.zeros(2, *COLOR)).shape == (2,)

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ("no_such_module:score", "there is no module no_such_module"),
            ("users_models:nothing", "no attribute 'nothing'"),
            ("users_models:NAMES", "is a list, which no adapter takes"),
            ("users_models:__doc__", "is a str|is text"),
            ("model.h5", "is no detector that ifnormal knows"),
            ("nothing", "is no detector that ifnormal knows"),
        ],
    )
    def test_refusals(self, spec: str, words: str) -> None:
        with pytest.raises(UserError, match=words):
            load_detector(spec, shape=COLOR)

    def test_an_import_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "broken_here.py").write_text("raise ValueError('weights are gone')")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match="ValueError: weights are gone"):
            load_detector("broken_here:score")


class TestShape:
    def test_comes_from_the_model(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, 3, 18, 30))
        detector = load_detector(str(path), trust=True)
        assert detector.shape == (3, 16, 32)  # sides that the generator can edit
        assert detector.preprocessing.size == (18, 30)  # type: ignore[attr-defined]
        assert detector(torch.rand(2, 3, 16, 32)).shape == (2,)

    def test_images_are_scored_through_the_preprocessing(self) -> None:
        seen = []

        def score(images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean((1, 2, 3))

        steps = Preprocessing(channels=3, size=(24, 24), crop=(20, 20), low=0, high=255)
        detector = adapt(score, shape=(1, 16, 16), preprocessing=steps)
        detector(torch.ones(2, 1, 16, 16))
        assert seen[0].shape == (2, 3, 20, 20)
        assert seen[0].unique().tolist() == [255]

    def test_has_to_be_given_where_any_will_do(self) -> None:
        with pytest.raises(UserError, match="takes images of any size"):
            adapt(RedNetwork())

    def test_a_contradiction(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, *COLOR))
        with pytest.raises(UserError, match="takes 16x16 images, the preprocessing makes 12x12"):
            load_detector(
                str(path), trust=True, shape=COLOR, preprocessing=Preprocessing(size=(12, 12))
            )


class TestCalibration:
    def test_a_threshold_of_the_users_own(self) -> None:
        detector = adapt(users_models.redness, shape=COLOR, threshold_own=0.1)
        done = detector.calibrated(blue(), red())
        assert done.own_threshold == 0.1
        images = to_float(torch.cat([blue(), red()]))
        assert torch.equal(done(images) > done.threshold, users_models.redness(images) > 0.1)

    def test_a_false_alarm_rate(self) -> None:
        images = torch.randint(0, 256, (200, *COLOR), dtype=torch.uint8)
        for rate in (0.05, 0.2):
            done = adapt(users_models.redness, shape=COLOR, threshold_own=9.0).calibrated(
                images, false_alarm_rate=rate
            )
            alarms = (in_batches(done, images) > done.threshold).double().mean().item()
            assert alarms == pytest.approx(rate, abs=0.01)
            assert done.own_threshold < 1

    def test_normal_images_that_cannot_be_scored(self) -> None:
        detector = adapt(lambda x: x.mean((1, 2, 3)).log() * torch.nan, shape=COLOR)
        with pytest.raises(UserError, match="NaN or infinite"):
            detector.calibrated(blue())


class TestSaving:
    def test_a_model_that_has_changed(self, tmp_path: Path) -> None:
        path = script(RedNetwork(), tmp_path / "m.pt", torch.rand(2, *COLOR))
        load_detector(str(path), trust=True, shape=COLOR).save(tmp_path / "d")  # type: ignore[attr-defined]
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(UserError, match=r"m\.pt has changed since it was wrapped"):
            load_detector(str(tmp_path / "d"), trust=True)
        path.unlink()
        with pytest.raises(UserError, match="is gone; put it back"):
            load_detector(str(tmp_path / "d"), trust=True)

    def test_a_model_that_has_moved_into_the_folder(self, tmp_path: Path) -> None:
        path = script(RedNetwork(), tmp_path / "m.pt", torch.rand(2, *COLOR))
        load_detector(str(path), trust=True, shape=COLOR).save(tmp_path / "d")  # type: ignore[attr-defined]
        path.rename(tmp_path / "d" / "m.pt")
        assert load_detector(str(tmp_path / "d"), trust=True).shape == COLOR

    def test_weights_in_a_file_beside_belong_to_it(self, tmp_path: Path) -> None:
        import onnx

        path = export_onnx(RedNetwork(), tmp_path / "m.onnx", ["score"], torch.rand(2, *COLOR))
        model = onnx.load(path)
        onnx.save(
            model, path, save_as_external_data=True, location="weights.data", size_threshold=0
        )
        load_detector(str(path), shape=COLOR).save(tmp_path / "d")  # type: ignore[attr-defined]
        assert load_detector(str(tmp_path / "d")).shape == COLOR
        weights = bytearray((tmp_path / "weights.data").read_bytes())
        weights[0] ^= 1
        (tmp_path / "weights.data").write_bytes(weights)
        with pytest.raises(UserError, match="has changed since"):
            load_detector(str(tmp_path / "d"))
        (tmp_path / "weights.data").unlink()
        with pytest.raises(UserError, match=r"weights\.data is gone"):
            load_detector(str(tmp_path / "d"))

    def test_features_from_a_function_have_to_be_given_again(self, tmp_path: Path) -> None:
        detector = adapt(RedNetwork(), shape=COLOR, features=users_models.mean_colors)
        detector.save(tmp_path)
        with pytest.raises(UserError, match="give features again"):
            load_adapted(tmp_path, model=RedNetwork())
        again = load_adapted(tmp_path, model=RedNetwork(), features=users_models.mean_colors)
        assert again.inspect(torch.rand(2, *COLOR))[1].shape == (2, 3)

    @pytest.mark.parametrize("text", ['{"format": "ifnormal.adapted-detector", "version": 1}', "{"])
    def test_damage(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "detector.json").write_text(text)
        with pytest.raises(UserError, match=r"detector\.json"):
            load_detector(str(tmp_path))


class TestFeatures:
    def test_are_the_input_of_the_last_layer(self) -> None:
        network = RedNetwork()
        detector = adapt(network, shape=COLOR)
        images = to_float(blue(3))
        inner = torch.relu(network.body(images)).mean((2, 3))
        for _ in range(2):  # the first run finds the layer, the second knows it
            torch.testing.assert_close(detector.inspect(images)[1], inner)

    def test_of_a_named_submodule(self) -> None:
        detector = adapt(RedNetwork(), shape=COLOR, features="body.0")
        assert detector.inspect(torch.rand(2, *COLOR))[1].shape == (2, 6)  # mean and maximum
        with pytest.raises(UserError, match=r"no submodule 'neck' .* body.0, body.3, head"):
            adapt(RedNetwork(), shape=COLOR, features="neck")

    def test_pooled_by_hand(self) -> None:
        maps = torch.tensor([[[[1.0, 3], [5, 7]]]])
        assert pooled(maps, 1) is not None
        assert pooled(maps, 1).tolist() == [[4, 7]]  # type: ignore[union-attr]
        assert pooled(torch.tensor([[[1.0, 2], [3, 4]]]), 1).tolist() == [[2, 3]]  # type: ignore[union-attr]
        assert pooled(torch.rand(6, 4), 2) is None

    def test_wide_ones_keep_their_distances(self) -> None:
        wide = torch.randn(20, 5000)
        narrow = narrowed(wide)
        assert narrow.shape == (20, 256)
        ratio = torch.pdist(narrow) / torch.pdist(wide)
        assert ratio.min() > 0.75
        assert ratio.max() < 1.25
        assert torch.equal(narrow, narrowed(wide))

    def test_a_description_tells_colours_and_edges_apart(self) -> None:
        plain, striped = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
        striped[..., ::2] = 1
        a, b = described(plain)[0], described(striped)[0]
        assert a.shape == (48,)
        assert torch.allclose(a[:16], b[:16])  # the same grey
        assert (b[16:32] > a[16:32] + 0.5).all()  # edges across
        assert torch.allclose(a[32:], b[32:])  # and none down


class TestOutputs:
    @pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1, 1)])
    def test_one_number_an_image(self, shape: tuple[int, ...]) -> None:
        values = torch.rand(shape)
        assert torch.equal(scores_of(values, 3, "it"), values.flatten())

    @pytest.mark.parametrize("shape", [(3, 5, 6), (3, 1, 5, 6)])
    def test_a_map_counts_by_its_maximum(self, shape: tuple[int, ...]) -> None:
        values = torch.rand(shape)
        assert torch.equal(scores_of(values, 3, "it"), values.flatten(1).amax(1))
        named = {"anomaly_map": values, "pred_mask": values > 0.5}
        assert torch.equal(scores_of(named, 3, "it"), values.flatten(1).amax(1))

    def test_a_score_goes_before_a_map(self) -> None:
        score, map_ = torch.rand(3), torch.rand(3, 1, 4, 4)
        output = users_models.Prediction(score, score > 0.5, map_, map_ > 0.5)
        assert torch.equal(scores_of(output, 3, "it"), score)
        assert torch.equal(scores_of(output._asdict(), 3, "it"), score)
        assert torch.equal(scores_of((map_, score, score > 0.5), 3, "it"), score)

    @pytest.mark.parametrize(
        "output",
        [
            torch.rand(3, 2),
            torch.rand(4),
            torch.rand(3) > 0.5,
            None,
            "text",
            {"loss": torch.rand(3)},
        ],
    )
    def test_anything_else_is_refused(self, output: object) -> None:
        with pytest.raises(UserError, match=r"it returns .* for 3 images; return"):
            scores_of(output, 3, "it")


def test_the_verb_lists_every_adapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    told = capsys.readouterr().out
    for adapter in ADAPTERS:
        assert f"{adapter.name}: {adapter.meaning}" in told
        assert adapter.why_trust in told
    assert 'pip install "ifnormal[onnx]" (installed)' in told


def test_a_clip_at_the_end_may_hold_all_normal_images(tmp_path: Path) -> None:
    """As anomalib exports: every normal image at exactly 0, its gradient before the clip."""

    class Clipped(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.mean((1, 2, 3)) - 0.9).clamp(0, 1)

    batch = ({0: torch.export.Dim("batch")},)
    example = (torch.rand(2, 3, 16, 16),)
    program = torch.export.export(Clipped(), example, dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "m.pt2")
    detector = load_detector(tmp_path / "m.pt2", trust=True, shape=(3, 16, 16))
    assert isinstance(detector, AdaptedDetector)
    images = torch.randint(0, 200, (16, 3, 16, 16)).to(torch.uint8)
    assert float(detector.own(images / 255).max()) == 0
    facts = check_contract(detector, images)
    assert facts["without_gradient"] == 0
