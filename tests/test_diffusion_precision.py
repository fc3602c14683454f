"""Half precision: in the networks alone, and not where an autoencoder overflows."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.config.diffusion import InversionConfig, MaskConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.inversion import inversion_edit
from ifnormal.explainers.diffusion.latent_backbone import Precision
from ifnormal.explainers.diffusion.loading import load_backbone, save_backbone, usable_precision
from ifnormal.explainers.diffusion.noise_schedule import NoiseSchedule
from tiny_backbones import SIDE, scheduler, tiny_backbone

CONFIG = InversionConfig(concepts=2, steps=4, mask=MaskConfig(maps=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_backbone(tiny_backbone(), tmp_path / "tiny", scheduler())
    return tmp_path / "tiny"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_edits_are_finite_and_computed_in_float32_outside_the_networks(
    folder: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: set[torch.dtype] = set()
    add_noise = NoiseSchedule.add_noise

    def noted(self: NoiseSchedule, latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        found = add_noise(self, latents, *rest)
        kinds.update((latents.dtype, found.dtype))
        return found

    monkeypatch.setattr(NoiseSchedule, "add_noise", noted)
    backbone = load_backbone(folder, precision)
    assert backbone.unet.dtype == getattr(torch, precision)
    images = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    canvas = Canvas.of(backbone, images)
    edit = inversion_edit(backbone, canvas.latents, ["a sign"] * 2, "", CONFIG)
    painted = canvas.paint(edit.edited, edit.mask)
    assert painted.dtype == edit.edited.dtype == torch.float32
    assert kinds == {torch.float32}
    assert bool(painted.isfinite().all())


def test_an_autoencoder_that_overflows_computes_in_float32(folder: Path) -> None:
    backbone = load_backbone(folder)
    weight = backbone.vae.decoder.conv_in.weight
    weight.data *= 3e5 / weight.abs().max()
    save_backbone(backbone, folder, scheduler())
    latents = torch.randn((1, 4, SIDE // 2, SIDE // 2), generator=torch.Generator().manual_seed(0))
    careful = load_backbone(folder, "float16")
    assert (careful.precision, careful.vae.dtype) == ("float16", torch.float32)
    assert bool(careful.decode(latents).isfinite().all())
    careful.vae.register_to_config(force_upcast=False)
    save_backbone(careful, folder, scheduler())
    careless = load_backbone(folder, "float16")
    assert careless.vae.dtype == torch.float16
    assert not bool(careless.decode(latents).isfinite().all())
    assert load_backbone(folder, "bfloat16").vae.dtype == torch.bfloat16


def test_a_gpus_precision_is_not_used_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable_precision("float16") in ("float32", "bfloat16")
    assert usable_precision("bfloat16") == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert usable_precision("float16") == "float16"
