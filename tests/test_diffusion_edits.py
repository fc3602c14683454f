"""Edits in latent space: independent of neighbours, free where the mask is 1, nothing where 0."""

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.config.diffusion import DiffEditConfig, InversionConfig, MaskConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import denoise, diffedit, inversion_times, invert
from ifnormal.explainers.diffusion.inversion import inversion_edit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.noise_schedule import CLEAN
from tiny_backbones import SIDE, tiny_backbone

DIFFEDIT = DiffEditConfig(steps=6, guidance=2.0, mask=MaskConfig(maps=2))
INVERSION = InversionConfig(concepts=3, steps=6)
PROMPTS = ["a sign", "speed limit 30", "a sign"]
CELLS = SIDE // 2


def images(count: int, channels: int = 3, side: int = SIDE) -> torch.Tensor:
    return torch.rand((count, channels, side, side), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_inversion_and_plain_denoising_give_the_latents_back(prediction: str) -> None:
    backbone = tiny_backbone(prediction)
    latents = Canvas.of(backbone, images(2)).latents
    prompt = backbone.embed([""]).expand(2, -1, -1)
    errors = []
    for steps in (10, 40, 160):
        times = inversion_times(backbone, steps, 0.5)
        path = invert(backbone, latents, times, prompt)
        assert len(path) == len(times) == steps // 2 + 1
        assert path[-1] is latents
        back = denoise(backbone, path[0], times, prompt)
        errors.append(float((back - latents).square().mean().sqrt() / latents.std()))
    assert errors[0] > errors[1] > errors[2], "finer steps undo each other better"
    assert errors[2] < errors[0] / 4


@pytest.mark.parametrize(("strength", "taken"), [(0.01, 1), (0.3, 3), (0.96, 10), (1.0, 10)])
def test_the_weakest_edit_takes_one_step(strength: float, taken: int) -> None:
    backbone = tiny_backbone()
    assert inversion_times(backbone, 10, strength) == [*backbone.schedule.times(10)[-taken:], CLEAN]


class TestIndependence:
    def test_diffedit(self) -> None:
        backbone = tiny_backbone()
        latents = Canvas.of(backbone, images(3)).latents
        together = diffedit(backbone, latents, "a sign", "", DIFFEDIT)
        for n in range(3):
            alone = diffedit(backbone, latents[n : n + 1], "a sign", "", DIFFEDIT)
            torch.testing.assert_close(alone.mask[0], together.mask[n], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(alone.edited[0], together.edited[n], atol=1e-3, rtol=1e-3)

    def test_inversion_editor(self) -> None:
        backbone = tiny_backbone()
        latents = Canvas.of(backbone, images(3)).latents

        def score(edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return (edited * mask[:, None]).mean((2, 3, 4))

        config = InversionConfig(concepts=3, steps=6, detector_guidance=0.2)
        together = inversion_edit(backbone, latents, PROMPTS, "", config, 0, score)
        alone = inversion_edit(backbone, latents[1:2], PROMPTS, "", config, 0, score)
        torch.testing.assert_close(alone.edited[0], together.edited[1], atol=1e-3, rtol=1e-3)


def inverted(
    backbone: LatentBackbone,
) -> tuple[torch.Tensor, list[torch.Tensor], Callable[..., torch.Tensor]]:
    """Latents edited freely, the way they were inverted on, and the same edit under a mask."""
    latents = Canvas.of(backbone, images(2)).latents
    times = inversion_times(backbone, 6, 0.8)
    there, wanted = (backbone.embed([words]).expand(2, -1, -1) for words in ("", "a sign"))
    path = invert(backbone, latents, times, there)

    def masked(original: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        return denoise(backbone, path[0], times, wanted, original=original, mask=mask)

    return denoise(backbone, path[0], times, wanted), path, masked


class TestMask:
    def test_nothing_is_free(self) -> None:
        backbone = tiny_backbone()
        given = images(2)
        canvas = Canvas.of(backbone, given)
        edit = inversion_edit(backbone, canvas.latents, PROMPTS, "", INVERSION)
        closed = torch.zeros_like(edit.mask)
        assert torch.equal(
            canvas.paint(edit.edited, closed), given[:, None].expand(-1, 3, -1, -1, -1)
        )

    def test_closed_everywhere_the_latents_come_back(self) -> None:
        _, path, masked = inverted(tiny_backbone())
        assert torch.equal(masked(path, torch.zeros(2, 1, CELLS, CELLS)), path[-1])

    def test_only_open_cells_change(self) -> None:
        _, path, masked = inverted(tiny_backbone())
        mask = torch.zeros(2, 1, CELLS, CELLS)
        mask[..., CELLS // 2 :] = 1
        closed, opened = masked(path, mask).split(CELLS // 2, dim=3)
        before, free = path[-1].split(CELLS // 2, dim=3)
        assert torch.equal(closed, before)
        assert bool((opened != free).all())

    def test_open_everywhere_the_original_does_not_count(self) -> None:
        free, path, masked = inverted(tiny_backbone())
        other = [torch.full_like(level, 9.0) for level in path]
        assert torch.equal(masked(other, torch.ones(2, 1, CELLS, CELLS)), free)

    def test_hard_masks_are_of_0_and_1_and_each_images_own(self) -> None:
        backbone = tiny_backbone()
        config = DiffEditConfig(steps=6, mask=MaskConfig(maps=2, soft=False))
        latents = Canvas.of(backbone, images(2)).latents
        mask = diffedit(backbone, latents, "a sign", "", config).mask
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert all(0 < float(one.mean()) < 1 for one in mask)


def test_detector_guidance_lowers_the_score() -> None:
    backbone = tiny_backbone()
    latents = Canvas.of(backbone, images(4)).latents

    def score(edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (edited * mask[:, None]).mean((2, 3, 4))

    reached = []
    for guidance in (0.0, 0.3):
        config = InversionConfig(concepts=2, steps=6, detector_guidance=guidance, repulsion=0)
        edit = inversion_edit(backbone, latents, PROMPTS[:2], "", config, 0, score)
        reached.append(score(edit.edited, edit.mask).mean())
    assert reached[1] < reached[0]


def test_repulsion_keeps_concepts_apart() -> None:
    backbone = tiny_backbone()
    latents = Canvas.of(backbone, images(4)).latents

    def apart(repulsion: float) -> float:
        config = InversionConfig(concepts=2, steps=6, mix=0.1, repulsion=repulsion)
        edited = inversion_edit(backbone, latents, ["a sign"] * 2, "", config).edited
        return float((edited[:, 0] - edited[:, 1]).abs().mean())

    assert apart(0.3) > 1.5 * apart(0.0)


@pytest.mark.parametrize(("channels", "side"), [(1, SIDE), (3, 3 * SIDE), (1, SIDE // 2)])
def test_images_of_any_size_are_painted_on(channels: int, side: int) -> None:
    given = images(2, channels, side)
    canvas = Canvas.of(tiny_backbone(), given)
    edited = canvas.latents[:, None] + torch.zeros(2, 3, 1, 1, 1)
    mask = torch.ones(2, 1, SIDE // 2, SIDE // 2)
    painted = canvas.paint(edited, mask)
    assert painted.shape == (2, 3, channels, side, side)
    torch.testing.assert_close(painted, given[:, None].expand_as(painted), atol=1e-5, rtol=0)
    assert not torch.equal(canvas.paint(edited + 1, mask), painted)
