"""What counts as a detector: subclasses of `Detector`, and objects that have its members."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector, device_of, log_odds_of, move_to
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.detectors.fingerprint import detector_fingerprint, digest
from ifnormal.detectors.loading import saved_detector
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.fit_data import as_detector
from known_detectors import COLOR, blue, mean_color, red, tiny


class Duck:
    """Flags red images; has the members of a detector that are needed, and another base class."""

    def __init__(self, **members: Any) -> None:
        self.shape, self.threshold = COLOR, 0.5
        vars(self).update(members)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return mean_color().inspect(images)

    def __call__(self, images: Tensor) -> Tensor:
        return self.inspect(images)[0].sigmoid()


class Network(nn.Module):
    """A torch module with the members of a detector, which can be saved."""

    shape, threshold = COLOR, 0.25

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        means = images.mean((2, 3))
        return self.linear(means)[:, 0], means

    def forward(self, images: Tensor) -> Tensor:
        return self.inspect(images)[0].sigmoid()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "weights").write_text(digest(self.state_dict()))


class OnlyInspect(Detector):
    """Sets and defines what has no default."""

    shape, threshold = COLOR, 0.25

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return mean_color().inspect(images)


def wrapped(candidate: Any) -> Detector:
    detector = checked_detector(candidate)
    assert detector is not None
    return detector


class TestBaseClass:
    def test_everything_else_has_a_default(self, tmp_path: Path) -> None:
        detector, images = OnlyInspect(), to_float(red(3))
        log_odds = detector.inspect(images)[0]
        assert torch.equal(detector(images), log_odds.sigmoid())
        assert torch.equal(detector.own_units(log_odds), log_odds.sigmoid())
        assert (detector.own_threshold, detector.higher_is) == (0.25, "anomalous")
        assert (detector.is_black_box, dict(detector.facts), detector.heatmap) == (False, {}, None)
        assert (detector.torch_module(), device_of(detector)) == (None, torch.device("cpu"))
        detector.save(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_inspect_has_none(self) -> None:
        class Nothing(Detector):
            shape, threshold = COLOR, 0.5

        with pytest.raises(TypeError, match="inspect"):
            Nothing()  # type: ignore[abstract]

    def test_a_torch_module_may_be_one(self) -> None:
        class Both(Network, Detector):
            pass

        detector = Both()
        assert wrapped(detector) is detector
        assert detector.torch_module() is detector
        move_to(detector, torch.device("meta"))
        assert device_of(detector) == torch.device("meta")


class TestDuckTypes:
    def test_scores_and_features_are_those_of_the_object(self) -> None:
        duck, images = Duck(), to_float(red(3))
        detector = wrapped(duck)
        assert isinstance(detector, Detector)
        assert torch.equal(detector(images), duck(images))
        for ours, theirs in zip(detector.inspect(images), duck.inspect(images), strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(detector.own_units(torch.zeros(2)), torch.full((2,), 0.5))

    def test_extras_are_those_of_the_object(self) -> None:
        duck = Duck(
            higher_is="normal",
            own_threshold=-10,
            own_units=lambda log_odds: -100 * log_odds,
            is_black_box=True,
            facts={"name": "duck"},
            heatmap=lambda images: images.mean(1),
        )
        detector = wrapped(duck)
        assert (detector.higher_is, detector.own_threshold) == ("normal", -10.0)
        assert detector.own_units(torch.ones(1)).item() == -100
        assert detector.is_black_box
        assert detector.facts == {"name": "duck"}
        assert detector.heatmap is not None
        assert detector.heatmap(torch.ones(2, *COLOR)).shape == (2, 16, 16)

    def test_members_that_change_are_followed(self) -> None:
        duck = Duck(threshold=torch.tensor(0.5))
        detector = wrapped(duck)
        assert isinstance(detector.threshold, float)
        duck.threshold, duck.facts = 0.75, {"asked": 3}  # type: ignore[attr-defined]
        assert (detector.threshold, detector.own_threshold) == (0.75, 0.75)
        assert detector.facts == {"asked": 3}

    def test_other_attributes_are_those_of_the_object(self) -> None:
        detector = deepcopy(wrapped(Duck(asked=7)))
        assert detector.asked == 7  # type: ignore[attr-defined]
        assert not hasattr(detector, "answered")

    def test_a_torch_module_moves_is_told_apart_and_saved(self, tmp_path: Path) -> None:
        network = Network()
        detector = wrapped(network)
        assert detector_fingerprint(detector)["weights"] == digest(network.state_dict())
        detector.save(tmp_path / "detector")
        assert (tmp_path / "detector" / "weights").exists()
        move_to(detector, torch.device("meta"))
        assert device_of(detector) == network.linear.weight.device == torch.device("meta")

    def test_an_object_without_weights_has_none(self) -> None:
        detector = wrapped(Duck())
        move_to(detector, torch.device("meta"))
        assert device_of(detector) == torch.device("cpu")
        assert detector_fingerprint(detector)["weights"] is None

    @pytest.mark.parametrize("candidate", [None, 42, "model.onnx", Duck, OnlyInspect, nn.Flatten()])
    def test_anything_else_is_none(self, candidate: Any) -> None:
        assert checked_detector(candidate) is None

    def test_one_is_explained_like_any_other(self, tmp_path: Path) -> None:
        duck, config = Duck(), tiny(steps=2)
        of_duck = Explainer(duck, config).fit(blue(), red(), seed=3)
        of_known = Explainer(mean_color(), config).fit(blue(), red(), seed=3)
        one, other = (e.explain(red(2), traversals=1) for e in (of_duck, of_known))
        assert torch.equal(one.counterfactuals, other.counterfactuals)
        assert torch.equal(one.own_scores_after, other.own_scores_after)
        of_duck.save(tmp_path)
        again = Explainer.load(tmp_path, duck)
        assert torch.equal(again.explain(red(2), traversals=0).counterfactuals, one.counterfactuals)

    def test_a_saved_explainer_may_be_given_one(self, tmp_path: Path) -> None:
        detector = saved_detector(tmp_path, Duck())
        assert torch.equal(log_odds_of(detector, red(2)), log_odds_of(mean_color(), red(2)))


def _celsius(log_odds: Tensor) -> Tensor:
    return 20 - 5 * log_odds


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "two sides": ({"shape": (3, 16)}, r"shape of .* is \(3, 16\); set it to three positive whole"),
    "a fraction": ({"shape": (3, 16, 16.0)}, r"shape of .* is \(3, 16, 16.0\); set it to three"),
    "no channel": ({"shape": (0, 16, 16)}, r"shape of .* is \(0, 16, 16\); set it to three"),
    "not yet known": ({"shape": None}, "shape of the detector Duck is None; set it to three"),
    "another scale": ({"threshold": 20.0}, r"threshold of .* is 20\.0; set it to a number in \["),
    "text": ({"threshold": "0.5"}, r"threshold of .* is '0\.5'; set it to a number in \[0, 1\]"),
    "not a number": ({"threshold": torch.nan}, "threshold of .* is nan; set it to a number in"),
    "no features": ({"inspect": True}, "inspect of .* is True; make it a method that returns log"),
    "a factor": ({"own_units": 100, "own_threshold": 50}, "own_units of .* is 100; make it a met"),
    "infinite": (
        {"own_units": _celsius, "own_threshold": torch.inf},
        "own_threshold of .* is inf; set it to a finite number",
    ),
    "missing": (
        {"own_units": _celsius, "own_threshold": None},
        "own_threshold of .* is None; set it to a finite number",
    ),
    "no threshold": (
        {"own_units": _celsius},
        "has own_units but no own_threshold, .* two scales; define both or neither",
    ),
    "no units": (
        {"own_threshold": 20.0},
        "has own_threshold but no own_units, .* two scales; define both or neither",
    ),
    "a capital": (
        {"higher_is": "Normal", "own_units": _celsius, "own_threshold": 20},
        'higher_is of .* is \'Normal\'; set it to "anomalous" or "normal"',
    ),
    "scores upside down": ({"higher_is": "normal"}, 'higher_is = "normal" but no own_units'),
    "a method": (
        {"is_black_box": lambda: False},
        "is_black_box of .* is a function; set it to True or False, as an attribute or a prop",
    ),
    "text for yes": ({"is_black_box": "yes"}, "is_black_box of .* is 'yes'; set it to True or F"),
    "facts of a method": ({"facts": dict}, "facts of .* is a type; set it to a dict"),
    "a list of facts": ({"facts": ["old"]}, r"facts of .* is \['old'\]; set it to a dict"),
    "one heatmap": ({"heatmap": True}, "heatmap of .* is True; make it a method from images to"),
    "saved already": ({"save": False}, "save of .* is False; make it a method that takes a folder"),
}


def _as_member(value: Any) -> Any:
    """A function as the class member that is looked up as such."""
    return staticmethod(value) if callable(value) else value


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSALS)
    @pytest.mark.parametrize(
        "entry",
        [
            Explainer,
            lambda duck: as_detector(duck, blue()),
            lambda duck: saved_detector(Path("none"), duck),
        ],
        ids=["explainer", "preparation", "loading"],
    )
    def test_of_an_object(self, case: str, entry: Callable[[Any], Any]) -> None:
        members, message = REFUSALS[case]
        with pytest.raises(UserError, match=message) as refusal:
            entry(Duck(**members))
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize("case", REFUSALS)
    def test_of_a_subclass(self, case: str) -> None:
        members, message = REFUSALS[case]
        bound = {name: _as_member(value) for name, value in members.items()}
        detector = type("Duck", (OnlyInspect,), bound)()
        with pytest.raises(UserError, match=message):
            checked_detector(detector)

    def test_a_subclass_without_shape(self) -> None:
        class Shapeless(Detector):
            threshold = 0.5
            inspect = OnlyInspect.inspect

        with pytest.raises(UserError, match="detector Shapeless has no shape; set it to three"):
            Explainer(Shapeless())

    def test_a_latent_explainer_refuses_as_well(self) -> None:
        pytest.importorskip("diffusers")
        from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
        from tiny_backbones import tiny_backbone

        with pytest.raises(UserError, match="higher_is"):
            LatentExplainer(Duck(higher_is="Normal"), tiny_backbone(), prompts=["a sign"])
