"""How a diffusion model makes do with the memory there is: what it does at once, what it spares.

Nothing is spared before it must be, as all of it takes time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ifnormal.common.errors import UserError
from ifnormal.explainers.diffusion.batch_limits import UNLIMITED, BatchLimits
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.memory import MemoryEstimate, weight_bytes

GIGABYTE = 2**30
ROUND = 32
# On a processor a fixed amount, so that it does not depend on the machine what is split.
_ON_PROCESSORS = 4 * GIGABYTE
# The rest of a GPU is left to the workspaces of its kernels and the gaps of its allocator.
_SHARE_OF_GPU = 0.75
# More at once than this makes a GPU no faster.
_BUSY_UNET, _BUSY_VAE = 64, 8
# Edits as decoded, what they change, that under the mask, and the painted pictures.
_PICTURES_AN_EDIT = 4


@dataclass(frozen=True)
class Room:
    """Memory to work in, beside the weights.

    Attributes:
        free: bytes.
        is_gpu: whether they are a GPU's, and so all there are.
    """

    free: int
    is_gpu: bool

    @classmethod
    def on(cls, device: torch.device) -> Room:
        """What there is now on a device."""
        if device.type == "cuda":
            return cls(torch.cuda.mem_get_info(device)[0], True)
        return cls(_ON_PROCESSORS, False)

    @property
    def usable(self) -> int:
        """Bytes to plan with."""
        return int(self.free * _SHARE_OF_GPU) if self.is_gpu else self.free


@dataclass(frozen=True)
class Work:
    """What has to fit.

    Attributes:
        edits: K, of each image.
        guided: whether the U-net is asked with the prompt and without.
        gradients: how many edits are decoded under one gradient at least; 0 for none.
    """

    edits: int
    guided: bool = False
    gradients: int = 0


@dataclass(frozen=True)
class MemoryPlan:
    """How a backbone was set up.

    Attributes:
        limits: what it does at once.
        images: of the images to explain, so many in a round.
        working: bytes that a round takes beside the weights; an estimate.
        spared: what is done at the price of time, a sentence each.
    """

    limits: BatchLimits
    images: int
    working: int
    spared: tuple[str, ...]


def place(backbone: LatentBackbone) -> None:
    """Move a backbone to the GPU, if there is one.

    Raises:
        UserError: its weights do not fit.
    """
    if not torch.cuda.is_available() or backbone.device.type == "cuda":
        return
    weights, free = weight_bytes(backbone), torch.cuda.mem_get_info()[0]
    if weights > free:
        raise UserError(
            f"The diffusion model takes {weights / GIGABYTE:.2g} GB and the GPU has "
            f"{free / GIGABYTE:.2g} GB left; free some of its memory, or name a smaller --backbone."
        )
    backbone.to("cuda")


def make_do(backbone: LatentBackbone, work: Work, room: Room) -> MemoryPlan:
    """Set up a backbone, which is where it computes already, so that the work fits.

    Raises:
        UserError: not even one image fits on the GPU.
    """
    backbone.limits = BatchLimits()
    estimate = MemoryEstimate(backbone)
    unet, about_attention = _spare_attention(backbone, estimate, room)
    vae, edit, about_decoding = _spare_decoder(backbone, estimate, work, room, unet)
    least = _least_edits(work) * edit + max(unet, vae)
    if room.is_gpu and least > room.free:
        raise UserError(
            f"Even one image at a time does not fit on the GPU: it takes about "
            f"{least / GIGABYTE:.2g} GB beside the diffusion model, and {room.free / GIGABYTE:.2g} "
            f"GB are left; free some of its memory, or name a smaller --backbone"
            f"{' or a --tiny-decoder' if work.gradients and backbone.tiny is None else ''}."
        )
    # Half of it for what a round keeps, the other half for what is in work.
    images = max(1, room.usable // 2 // (work.edits * edit))
    left = room.usable - min(images, ROUND) * work.edits * edit
    most_unet, most_vae = (_BUSY_UNET, _BUSY_VAE) if room.is_gpu else (UNLIMITED, UNLIMITED)
    limits = replace(
        backbone.limits,
        images=images,
        unet=min(max(1, left // unet), most_unet),
        vae=min(max(1, left // vae), most_vae),
    )
    backbone.limits = limits
    images = min(images, ROUND)
    edits = images * work.edits
    asked = 2 * edits if work.guided else edits
    working = edits * edit + max(unet * min(asked, limits.unet), vae * min(edits, limits.vae))
    return MemoryPlan(limits, images, working, (*about_attention, *about_decoding))


def _least_edits(work: Work) -> int:
    return max(work.edits, work.gradients)


def _spare_attention(
    backbone: LatentBackbone, estimate: MemoryEstimate, room: Room
) -> tuple[int, list[str]]:
    """Bytes of a latent image in the U-net, and what is said of it.

    Fused attention, as on a GPU, keeps no scores, so that slices of them would only take more.
    """
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    unet = backbone.unet
    unet.set_attn_processor(AttnProcessor2_0() if room.is_gpu else AttnProcessor())
    taken = estimate.unet_bytes()
    if room.is_gpu or taken <= room.usable:
        return taken, []
    for slices in ("auto", "max"):
        unet.set_attention_slice(slices)
        taken = estimate.unet_bytes()
        if taken <= room.usable:
            break
    return taken, ["Attention is computed in slices."]


@dataclass(frozen=True)
class _Decoding:
    """A way to decode; the later ones take less memory and more time.

    Attributes:
        recompute: whether what its gradient needs is computed again.
        by_blocks: whether that is kept of one block at a time.
        tiled: whether a picture is decoded in overlapping parts, which are not exactly the whole.
        said: a sentence for the terminal, or none.
    """

    recompute: bool
    by_blocks: bool
    tiled: bool
    said: str

    def set_up(self, backbone: LatentBackbone) -> None:
        """Let a backbone decode like this."""
        vae = backbone.vae
        backbone.limits = replace(backbone.limits, recompute=self.recompute)
        for decoder in (vae, backbone.tiny):
            if decoder is not None:
                if self.by_blocks:
                    decoder.enable_gradient_checkpointing()
                else:
                    decoder.disable_gradient_checkpointing()
        if self.tiled:
            # Of its own accord it would take tiles of the size it was trained with: the whole.
            vae.tile_sample_min_size = max(backbone.size) // 2
            vae.tile_latent_min_size = vae.tile_sample_min_size // backbone.factor
            vae.enable_tiling()
        else:
            vae.disable_tiling()


_AGAIN = "What the decoder's gradient needs is computed again instead of kept"
_WITHOUT_GRADIENT = (
    _Decoding(False, False, False, ""),
    _Decoding(False, False, True, "Pictures are decoded in tiles."),
)
_WITH_GRADIENT = (
    _Decoding(False, False, False, ""),
    _Decoding(True, False, False, f"{_AGAIN}."),
    _Decoding(True, True, False, f"{_AGAIN}, block by block."),
    _Decoding(True, True, True, f"{_AGAIN}, block by block, and pictures are decoded in tiles."),
)


def _spare_decoder(
    backbone: LatentBackbone, estimate: MemoryEstimate, work: Work, room: Room, unet: int
) -> tuple[int, int, list[str]]:
    """Bytes of an image in the autoencoder, those of an edit that is kept, and what is said."""
    height, width = backbone.size
    picture = _PICTURES_AN_EDIT * 3 * height * width * torch.float32.itemsize
    ways = _WITH_GRADIENT if work.gradients else _WITHOUT_GRADIENT
    plain: dict[bool, int] = {}
    taken = edit = 0
    for way in ways[1:] if room.is_gpu and work.gradients else ways:
        way.set_up(backbone)
        if way.tiled not in plain:  # nothing else matters where no gradient is asked for
            plain[way.tiled] = max(estimate.encoder_bytes(), estimate.decoder_bytes())
        taken, edit = plain[way.tiled], picture
        if work.gradients:
            gradient = estimate.gradient_bytes()
            taken = max(taken, gradient)
            # Graphs of all edits are kept until the detector has seen them all.
            edit += 0 if way.recompute else gradient
        if _least_edits(work) * edit + max(unet, taken) <= room.usable:
            break
    return taken, edit, [way.said] if way.said else []
