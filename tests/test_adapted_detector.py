"""A user's model as a detector: the shape of its images, its calibration, and its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import users_models
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted.detector import adapt
from ifnormal.detectors.adapted.loading import load_adapted
from ifnormal.detectors.detector import device_of, in_batches
from ifnormal.detectors.loading import load_detector
from known_detectors import COLOR, blue, red
from users_models import RedNetwork, export_onnx, export_program, needs_adapters, script


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


class TestValue:
    @pytest.mark.parametrize("threshold", [None, 0.1])
    @pytest.mark.parametrize("rate", [None, 0.2])
    def test_another_shape_keeps_the_calibration(
        self, threshold: float | None, rate: float | None
    ) -> None:
        plain = adapt(users_models.redness, shape=COLOR, threshold_own=threshold)
        checked = plain.with_checks(contract={"twice": 0.0})
        done = checked.calibrated(blue(), red(), rate)
        moved = done.at((3, 32, 32))
        assert moved.shape == (3, 32, 32)
        for name in ("threshold", "own_threshold", "has_own_threshold", "score_map", "checks"):
            assert getattr(moved, name) == getattr(done, name)
        assert done.has_own_threshold == (threshold is not None and rate is None)
        assert moved.is_calibrated
        assert done.at(COLOR).facts == done.facts
        again = moved.calibrated(blue(), red())
        assert (again.own_threshold == 0.1) == done.has_own_threshold

    def test_replacing_leaves_the_first_one_as_it_was(self) -> None:
        first = adapt(users_models.redness, shape=COLOR)
        other = first.replace(own_threshold=0.1, higher_is="normal")
        assert (other.own_threshold, other.higher_is) == (0.1, "normal")
        assert (first.higher_is, first.has_own_threshold) == ("anomalous", False)
        assert other.model is first.model

    def test_two_detectors_of_a_model_may_read_it_both_ways(self) -> None:
        model = adapt(users_models.redness, shape=COLOR).model
        high, low = (adapt(model, shape=COLOR, higher_is=h) for h in ("anomalous", "normal"))
        assert (high.higher_is, low.higher_is) == ("anomalous", "normal")
        images = to_float(red(2))
        assert torch.equal(high.inspect(images)[0], -low.inspect(images)[0])

    @pytest.mark.parametrize("name", ["checks", "threshold", "model", "shape", "higher_is"])
    def test_no_attribute_can_be_assigned(self, name: str) -> None:
        detector = adapt(RedNetwork(), shape=COLOR)
        with pytest.raises(AttributeError, match=rf"does not change; use replace\({name}=\.\.\.\)"):
            setattr(detector, name, getattr(detector, name))
        assert device_of(detector.to("meta")) == torch.device("meta")


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

    @needs_adapters
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
