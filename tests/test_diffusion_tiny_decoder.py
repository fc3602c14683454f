"""A tiny decoder: gradients go through it, pictures do not."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.loading import load_backbone, save_backbone
from ifnormal.explainers.diffusion.tiny_decoder import attach_tiny_decoder
from tiny_backbones import SIDE, scheduler, tiny_backbone


def saved(folder: Path, stages: int = 2, channels: int = 4) -> Path:
    """A random AutoencoderTiny; each stage but the first halves the image."""
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoencoderTiny(
            encoder_block_out_channels=(8,) * stages,
            decoder_block_out_channels=(8,) * stages,
            num_encoder_blocks=(1,) * stages,
            num_decoder_blocks=(1,) * stages,
            latent_channels=channels,
        ).save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(tmp_path: Path) -> LatentBackbone:
    made = deepcopy(tiny_backbone())
    attach_tiny_decoder(made, saved(tmp_path / "tiny"))
    return made


def watched(module: Any) -> list[int]:
    """How many rows come into a module from now on."""
    rows: list[int] = []
    module.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    return rows


def test_only_drafts_go_through_it(backbone: LatentBackbone) -> None:
    images = torch.rand((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    plain, small = watched(backbone.vae.decoder), watched(backbone.tiny.decoder)
    canvas = Canvas.of(backbone, images)
    mask = torch.ones(2, 1, SIDE // 2, SIDE // 2)
    edited = canvas.latents[:, None].repeat(1, 2, 1, 1, 1)
    assert torch.equal(canvas.decoded, tiny_backbone().decode(canvas.latents))
    canvas.paint(edited, mask)
    assert (plain, small) == ([2, 4], [])
    draft = canvas.draft()
    painted = draft.paint(edited.requires_grad_(), mask)
    assert (plain, small) == ([2, 4], [2, 4])
    torch.testing.assert_close(painted, images[:, None].expand_as(painted), atol=1e-5, rtol=0)
    painted.sum().backward()
    assert edited.grad is not None
    assert bool(edited.grad.abs().sum() > 0)


def test_without_one_a_draft_is_the_canvas_itself() -> None:
    canvas = Canvas.of(tiny_backbone(), torch.rand(1, 3, SIDE, SIDE))
    assert canvas.draft() is canvas


def test_it_is_loaded_with_the_backbone_and_in_its_precision(tmp_path: Path) -> None:
    save_backbone(tiny_backbone(), tmp_path / "backbone", scheduler())
    folder = saved(tmp_path / "tiny")
    made = load_backbone(tmp_path / "backbone", "bfloat16", tiny_decoder=folder)
    assert made.tiny_where == str(folder.resolve())
    assert {weight.dtype for weight in made.tiny.parameters()} == {torch.bfloat16}
    assert not any(weight.requires_grad for weight in made.parameters())


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    made = deepcopy(tiny_backbone())
    with pytest.raises(UserError, match="nowhere is neither a folder nor owner/name"):
        attach_tiny_decoder(made, "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no config\.json; name the folder of a tiny decoder"):
        attach_tiny_decoder(made, tmp_path / "empty")
    with pytest.raises(UserError, match=r"have 4 and 2; name one that was made for it"):
        attach_tiny_decoder(made, saved(tmp_path / "deep", stages=4))
    with pytest.raises(UserError, match="latents of 8 channels"):
        attach_tiny_decoder(made, saved(tmp_path / "wide", channels=8))
    made.vae.save_pretrained(tmp_path / "large")
    with pytest.raises(UserError, match=r"of the kind AutoencoderKL\); it has to be an"):
        attach_tiny_decoder(made, tmp_path / "large")
    assert made.tiny is None
