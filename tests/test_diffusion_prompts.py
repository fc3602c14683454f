"""What concepts are asked for when nobody says it, and what edits lead away from."""

from copy import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.config.diffusion import InversionConfig, MaskConfig
from ifnormal.explainers.diffusion import editor
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import LatentEdit
from ifnormal.explainers.diffusion.inversion import inversion_edit
from ifnormal.explainers.diffusion.inversion_editor import InversionEditor
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
from ifnormal.explainers.diffusion.memory_plan import MemoryPlan
from ifnormal.explainers.diffusion.prompts import class_names, most_accepted, prompts_of, source_of
from test_diffusion_explainer import Brightness, pictures
from tiny_backbones import SIDE, tiny_backbone

pytestmark = pytest.mark.usefixtures("planned_once")

NAMES = ["limit 30", "limit 50", "limit 80"]


def knowing(**facts: Any) -> LatentBackbone:
    backbone = copy(tiny_backbone())
    backbone.facts = facts
    return backbone


@pytest.fixture
def signs() -> LatentBackbone:
    return knowing(prompts=["", *NAMES, "limits", "something else"], normal="limits")


def test_names_of_normal_classes_serve_as_concepts_and_come_again(signs: LatentBackbone) -> None:
    assert class_names(signs) == NAMES
    assert prompts_of(2, [], signs, True) == NAMES[:2]
    assert prompts_of(4, [], signs, True) == [*NAMES, NAMES[0]]


def test_one_edit_is_asked_for_what_is_normal_in_general(signs: LatentBackbone) -> None:
    assert prompts_of(1, [], signs, True) == ["limits"]
    assert prompts_of(1, [], signs, False) == ["limits"]


def test_what_the_user_says_counts(signs: LatentBackbone) -> None:
    assert prompts_of(3, ["a sign"], signs, True) == ["a sign"] * 3
    assert prompts_of(2, ["a", "b"], signs, True) == ["a", "b"]
    assert source_of("stop", signs) == "stop"
    assert source_of("", signs) == ""


def test_what_is_not_normal_has_a_word_where_the_backbone_has_one(signs: LatentBackbone) -> None:
    assert source_of(None, signs) == "something else"
    assert source_of(None, knowing(normal="bottle", prompts=["", "bottle"])) == ""
    assert source_of(None, knowing()) == ""


def test_too_many_or_too_few_prompts_are_refused(signs: LatentBackbone) -> None:
    with pytest.raises(UserError, match="2 prompts for 3 concepts"):
        prompts_of(3, ["a", "b"], signs, True)
    with pytest.raises(UserError, match="Only the method inversion"):
        prompts_of(1, ["a", "b"], signs, False)
    with pytest.raises(UserError, match="--prompt"):
        prompts_of(4, [], knowing(), True)


def test_the_most_accepted_names_are_kept_in_their_order() -> None:
    assert most_accepted(["a", "b", "c"], [0.5, 0.1, 0.9], 2) == ["a", "c"]
    assert most_accepted(["a", "b", "c"], [0.5, 0.5, 0.5], 2) == ["a", "b"]


def test_fit_chooses_among_the_names_by_what_the_detector_accepts(
    signs: LatentBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits asked for the second name are left bright, which the detector flags."""
    config = InversionConfig(concepts=2, steps=4, mask=MaskConfig(maps=1))
    explainer = LatentExplainer(Brightness(), signs, config)
    assert explainer.prompts == NAMES[:2]

    def paint(self: Canvas, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        light = torch.tensor([0.1, 0.9, 0.1]).view(1, -1, 1, 1, 1)
        return light.expand(len(edited), edited.shape[1], *Brightness.shape)

    monkeypatch.setattr(Canvas, "paint", paint)
    explainer.fit(pictures(24, False), pictures(24, True))
    assert explainer.prompts == [NAMES[0], NAMES[2]]
    assert explainer.facts["prompts"] == [NAMES[0], NAMES[2]]
    chosen = LatentExplainer(Brightness(), signs, config, NAMES[:2])
    chosen.fit(pictures(24, False), pictures(24, True))
    assert chosen.prompts == NAMES[:2]


def test_names_are_tried_on_as_many_outliers_at_once_as_memory_allows(
    signs: LatentBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(images: int) -> tuple[list[str], list[int], list[torch.Tensor]]:
        tried: list[int] = []
        accepted: list[torch.Tensor] = []
        edit, flags = InversionEditor.latent_edits, InversionEditor.flags

        def watched(self: InversionEditor, part: torch.Tensor) -> tuple[Canvas, LatentEdit]:
            tried.append(len(part))
            return edit(self, part)

        def told(self: InversionEditor, canvas: Canvas, made: LatentEdit) -> torch.Tensor:
            accepted.append(flags(self, canvas, made))
            return accepted[-1]

        make_do = editor.make_do

        def plan(*given: Any) -> MemoryPlan:
            return replace(make_do(*given), images=images)

        with monkeypatch.context() as patched:
            patched.setattr(editor, "make_do", plan)
            patched.setattr(InversionEditor, "latent_edits", watched)
            patched.setattr(InversionEditor, "flags", told)
            config = InversionConfig(concepts=2, steps=4, mask=MaskConfig(maps=1))
            explainer = LatentExplainer(Brightness(), signs, config)
            explainer.fit(pictures(8, False), pictures(8, True))
        return explainer.prompts, tried, accepted

    together, in_parts = chosen(32), chosen(3)
    assert together[1] == [8]
    assert in_parts[1] == [3, 3, 2]
    assert in_parts[0] == together[0]
    assert torch.equal(torch.cat(in_parts[2]), torch.cat(together[2]))


def edited(prompts: list[str], **options: Any) -> torch.Tensor:
    images = torch.rand((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    backbone = tiny_backbone()
    canvas = Canvas.of(backbone, images)
    config = InversionConfig(steps=4, mask=MaskConfig(maps=1), **options)
    with torch.no_grad():
        return inversion_edit(backbone, canvas.latents, prompts, "", config).edited


def test_only_concepts_that_share_a_prompt_get_noise_of_their_own() -> None:
    first, second, other = edited(["a sign", "a sign", "speed limit 30"], repulsion=0).unbind(1)
    assert not torch.allclose(first, second)
    plain = edited(["a sign", "a sign", "speed limit 30"], repulsion=0, mix=0)
    torch.testing.assert_close(plain[:, 0], plain[:, 1])
    torch.testing.assert_close(plain[:, 0], first)
    torch.testing.assert_close(plain[:, 2], other)


def test_repulsion_leads_only_concepts_that_share_a_prompt_apart() -> None:
    prompts = ["a sign", "a sign", "speed limit 30"]
    together, apart = edited(prompts, repulsion=0), edited(prompts, repulsion=0.5)
    torch.testing.assert_close(together[:, 2], apart[:, 2])

    def distance(edits: torch.Tensor) -> torch.Tensor:
        return (edits[:, 0] - edits[:, 1]).abs().mean((1, 2, 3))

    assert (distance(apart) > distance(together)).all()


def test_edits_lead_away_from_the_source() -> None:
    images = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    backbone = tiny_backbone()
    latents = Canvas.of(backbone, images).latents
    config = InversionConfig(concepts=1, steps=4, mask=MaskConfig(maps=1))
    with torch.no_grad():
        same = inversion_edit(backbone, latents, ["a sign"], "a sign", config).edited
        nearly = inversion_edit(
            backbone,
            latents,
            ["a sign"],
            "a sign",
            InversionConfig(**{**vars(config), "guidance": 1}),
        ).edited
        other = inversion_edit(backbone, latents, ["a sign"], "", config).edited
    # Away from the very prompt is no way at all, however far one is led.
    torch.testing.assert_close(same, nearly)
    assert not torch.allclose(same, other)
