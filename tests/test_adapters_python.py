"""What Python brings: estimators, functions, and what a name stands for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import users_models
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import adapt
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.loading import load_detector
from known_detectors import COLOR, blue, red


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
