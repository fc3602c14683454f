"""BatchLimits: edits are the same, however much is done at once, sliced or recomputed."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.config.diffusion import InversionConfig, MaskConfig
from ifnormal.explainers.diffusion.batch_limits import BatchLimits, in_parts
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.inversion import inversion_edit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from tiny_backbones import SIDE, tiny_backbone

PLAIN = InversionConfig(concepts=3, steps=4, repulsion=0, mask=MaskConfig(maps=1))
GUIDED = replace(PLAIN, repulsion=0.1, detector_guidance=0.2)
# What these add is scaled to one size in each step, and what was rounded with it.
CLOSE = [(PLAIN, 1e-4), (GUIDED, 1e-3)]


def bounded(**limits: Any) -> LatentBackbone:
    backbone = deepcopy(tiny_backbone())
    backbone.limits = BatchLimits(**limits)
    return backbone


def pictures(backbone: LatentBackbone, config: InversionConfig = PLAIN) -> torch.Tensor:
    """Two images, edited in three ways that follow the brightness of what is painted."""
    images = torch.rand((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(7))
    canvas = Canvas.of(backbone, images)

    def score(edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return canvas.draft().paint(edited, mask).mean((2, 3, 4))

    edit = inversion_edit(backbone, canvas.latents, ["a sign"] * 3, "", config, 0, score)
    with torch.no_grad():
        return canvas.paint(edit.edited, edit.mask)


@cache
def unbounded(config: InversionConfig = PLAIN) -> torch.Tensor:
    return pictures(bounded(), config)


def largest(module: Any) -> Callable[[], int]:
    """The most rows that came into a module together from now on."""
    sizes: list[int] = []
    module.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    return lambda: max(sizes)


def test_parts_are_joined_in_order() -> None:
    seen: list[int] = []

    def work(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append(len(a))
        return a + b

    rows = torch.arange(5)
    assert in_parts(work, 2, rows, 10 * rows).tolist() == [0, 11, 22, 33, 44]
    assert seen == [2, 2, 1]


@pytest.mark.parametrize(
    "limits",
    [{"unet": 1, "vae": 1}, {"unet": 5, "vae": 4}, {"recompute": True, "vae": 2}],
    ids=str,
)
@pytest.mark.parametrize(("config", "within"), CLOSE, ids=["plain", "guided"])
def test_edits_do_not_depend_on_them(
    limits: dict[str, int], config: InversionConfig, within: float
) -> None:
    backbone = bounded(**limits)
    together, decoded = largest(backbone.unet), largest(backbone.vae.decoder)
    made = pictures(backbone, config)
    torch.testing.assert_close(made, unbounded(config), atol=within, rtol=0)
    assert together() <= limits.get("unet", 12)
    assert decoded() == limits["vae"]


@pytest.mark.parametrize("slices", ["auto", "max"])
def test_sliced_attention_gives_the_same(slices: str) -> None:
    backbone = bounded()
    backbone.unet.set_attention_slice(slices)
    torch.testing.assert_close(pictures(backbone), unbounded(), atol=1e-5, rtol=0)


def test_a_gradient_that_is_computed_again_is_the_same_and_keeps_no_activations() -> None:
    random = torch.Generator().manual_seed(1)
    latents = torch.randn((3, 4, SIDE // 2, SIDE // 2), generator=random)
    found = {}
    for name, backbone in (
        ("kept", bounded()),
        ("again", bounded(recompute=True)),
        ("in parts", bounded(recompute=True, vae=1)),
    ):
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        given = latents.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            score = backbone.decode(given).square().sum()
        score.backward()
        found[name] = given.grad, kept
    expected, most = found.pop("kept")
    for slope, kept in found.values():
        torch.testing.assert_close(slope, expected, atol=1e-5, rtol=1e-5)
        # The latents and the pictures, whose square is asked for; a few of each.
        assert kept <= 4 * (latents.numel() + 3 * 3 * SIDE * SIDE) < most / 4
