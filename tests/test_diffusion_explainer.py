"""The explainer with a diffusion model: the same door as the pixel generator's."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.config.diffusion import (
    DiffEditConfig,
    InversionConfig,
    LatentConfig,
    MaskConfig,
    MethodConfig,
    method_config,
)
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import LatentEdit
from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
from ifnormal.explainers.diffusion.loading import load_backbone, save_backbone
from tiny_backbones import SIDE, scheduler, tiny_backbone

pytestmark = pytest.mark.usefixtures("planned_once")

INVERSION = InversionConfig(concepts=3, steps=4, mask=MaskConfig(maps=1))
DIFFEDIT = DiffEditConfig(steps=4, mask=MaskConfig(maps=1))
LATENT = LatentConfig(
    concepts=2, steps=2, batch_size=2, width=16, discriminator_width=8, diffedit=DIFFEDIT
)


class Brightness(Detector):
    """A detector whose score rises with the mean of an image."""

    shape = (3, SIDE, SIDE)
    threshold = 0.5

    def inspect(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = images.mean((2, 3))
        return 20 * (mean.mean(1) - 0.5), mean


def pictures(count: int, bright: bool) -> torch.Tensor:
    random = torch.Generator().manual_seed(int(bright))
    low, high = (150, 256) if bright else (0, 110)
    return torch.randint(low, high, (count, *Brightness.shape), generator=random).to(torch.uint8)


@pytest.mark.parametrize("config", [INVERSION, DIFFEDIT, LATENT], ids=lambda c: type(c).__name__)
def test_explanations_of_every_method(
    config: MethodConfig,
) -> None:
    explainer = LatentExplainer(Brightness(), tiny_backbone(), config, ["a sign"])
    explainer.fit(pictures(24, False), pictures(24, True))
    explanation = explainer.explain(pictures(5, True), traversals=3, traversal_steps=4)
    assert explanation.counterfactuals.shape == (5, explainer.concepts, *Brightness.shape)
    assert explanation.traversals.shape == (3, explainer.concepts, 4, *Brightness.shape)
    first, last = explanation.traversals[:, :, 0], explanation.traversals[:, :, -1]
    assert torch.equal(first, explanation.anomalies[:3, None].expand_as(first))
    assert torch.equal(last, explanation.counterfactuals[:3])
    falls = (
        explanation.calibrated_scores_after[:3] <= explanation.calibrated_scores_before[:3, None]
    )
    steps = explanation.calibrated_traversal_scores.diff(dim=2) <= 1e-6
    assert bool(steps.all(2)[falls].all()), "a score that falls, falls all the way"
    assert explanation.facts["generator"] == explainer.method
    again = explainer.explain(pictures(5, True), traversals=0)
    assert torch.equal(again.counterfactuals, explanation.counterfactuals)


def test_guidance_by_the_detector_makes_more_edits_valid() -> None:
    reached = []
    for guidance in (0.0, 1.0):
        config = replace(INVERSION, detector_guidance=guidance)
        explainer = LatentExplainer(Brightness(), tiny_backbone(), config, ["a sign"])
        explainer.fit(pictures(24, False), pictures(24, True))
        reached.append(float(explainer.explain(pictures(4, True)).calibrated_scores_after.mean()))
    assert reached[1] < reached[0]


def test_prompts_are_names_of_concepts() -> None:
    make = LatentExplainer
    assert make(Brightness(), tiny_backbone(), INVERSION, ["x"]).prompts == ["x"] * 3
    assert make(Brightness(), tiny_backbone(), INVERSION, ["x", "y", "z"]).prompts == [*"xyz"]
    with pytest.raises(UserError, match="2 prompts for 3 concepts"):
        make(Brightness(), tiny_backbone(), INVERSION, ["x", "y"])
    with pytest.raises(UserError, match="no word for what is normal; name it with --prompt"):
        make(Brightness(), tiny_backbone(), INVERSION)
    with pytest.raises(UserError, match="a prompt for each concept; give one"):
        make(Brightness(), tiny_backbone(), DIFFEDIT, ["x", "y"])


def test_what_is_not_possible_is_told() -> None:
    class BlackBox(Brightness):
        is_black_box = True

    explainer = LatentExplainer(BlackBox(), tiny_backbone(), LATENT, ["a sign"])
    with pytest.raises(UserError, match="takes a detector with a gradient"):
        explainer.fit(pictures(24, False), pictures(24, True))
    with pytest.raises(UserError, match="give at least one"):
        LatentExplainer(Brightness(), tiny_backbone(), INVERSION, ["x"]).explain(pictures(0, True))


@pytest.mark.parametrize("config", [INVERSION, LATENT], ids=lambda c: type(c).__name__)
def test_saved_and_loaded_it_explains_the_same(
    config: InversionConfig | LatentConfig, tmp_path: Path
) -> None:
    save_backbone(tiny_backbone(), tmp_path / "backbone", scheduler())
    explainer = LatentExplainer(
        Brightness(), load_backbone(tmp_path / "backbone"), config, ["a sign"], "something else"
    )
    explainer.fit(pictures(24, False), pictures(24, True), seed=3)
    explainer.save(tmp_path / "explainer")
    again = LatentExplainer.load(tmp_path / "explainer", Brightness())
    assert again.config == explainer.config
    images = pictures(3, True)
    first, second = explainer.explain(images), again.explain(images)
    assert torch.equal(first.counterfactuals, second.counterfactuals)
    assert first.facts == second.facts
    shutil.rmtree(tmp_path / "backbone")
    with pytest.raises(UserError, match="neither a folder nor"):
        LatentExplainer.load(tmp_path / "explainer", Brightness())


def test_a_setting_that_was_not_saved_is_not_made_up(tmp_path: Path) -> None:
    save_backbone(tiny_backbone(), tmp_path / "backbone", scheduler())
    backbone = load_backbone(tmp_path / "backbone")
    explainer = LatentExplainer(Brightness(), backbone, INVERSION, ["a sign"])
    explainer.save(tmp_path / "explainer")
    path = tmp_path / "explainer" / "explainer.json"
    facts = read_json(path)
    del facts["config"]["attempts"]
    write_json(path, facts)
    with pytest.raises(
        UserError, match=r"explainer\.json.*InversionConfig lack attempts.*fit again"
    ):
        LatentExplainer.load(tmp_path / "explainer", Brightness())


@pytest.mark.parametrize("nested", ["weights", "diffedit"])
def test_settings_are_read_back_whole_or_not_at_all(nested: str) -> None:
    saved = asdict(LATENT)
    assert method_config("latent", saved) == LATENT
    saved[nested].popitem()
    with pytest.raises(TypeError, match="lack"):
        method_config("latent", saved)


@pytest.mark.parametrize("attempts", [1, 3])
def test_images_with_flagged_edits_are_tried_again_bolder(
    attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit of each image is a flat grey: the first image is dark at once, the others later."""
    asked: list[tuple[int, float, float]] = []

    def edit(
        backbone: object,
        latents: torch.Tensor,
        prompts: object,
        source: object,
        config: InversionConfig,
        *rest: object,
    ) -> LatentEdit:
        asked.append((len(latents), config.strength, config.mask.threshold))
        grey = torch.full((len(latents), 3, *latents.shape[1:]), float(len(asked)))
        grey[0] = 3 if len(asked) == 1 else float(len(asked))
        return LatentEdit(latents, grey, torch.ones_like(latents[:, :1]))

    def paint(self: Canvas, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        light = 0.9 - 0.2 * edited.mean((2, 3, 4))  # 0.7, 0.5, 0.3 for 1, 2, 3
        return light[..., None, None, None].expand(*edited.shape[:2], *Brightness.shape)

    monkeypatch.setattr("ifnormal.explainers.diffusion.inversion_editor.inversion_edit", edit)
    monkeypatch.setattr(Canvas, "paint", paint)
    config = replace(INVERSION, attempts=attempts, strength=0.8)
    explainer = LatentExplainer(Brightness(), tiny_backbone(), config, ["a sign"])
    explainer.fit(pictures(24, False), pictures(24, True), false_alarm_rate=None)
    monkeypatch.setattr(Brightness, "threshold", 0.4)
    asked.clear()
    explanation = explainer.explain(pictures(4, True), traversals=0)
    threshold = config.mask.threshold
    expected = [(4, 0.8, threshold), (3, 0.9, threshold / 2), (3, 1.0, threshold / 4)]
    assert [one[0] for one in asked] == [one[0] for one in expected[:attempts]]
    for found, wanted in zip(asked, expected, strict=False):
        assert found == pytest.approx(wanted)
    valid = explanation.calibrated_scores_after <= 0.4
    assert valid[0].all()
    assert bool(valid[1:].all()) is (attempts == 3)
