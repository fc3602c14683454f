"""Where and how precisely to compute: one Fabric, chosen by what the machine can do."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["auto", "bf16-mixed", "32-true"]


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 matrix products are native here: AMX, AVX512-BF16, or a GPU that has them.

    Emulated bfloat16 is slower than float32, hence the check.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def make_fabric(precision: Precision = "auto", devices: int | str = 1) -> Fabric:
    """A launched Fabric: CUDA where there is one, bfloat16 where it is native, else float32.

    Args:
        precision: "auto" decides by `has_fast_bfloat16`.
        devices: number of devices. More than one starts as many processes, each of which does what
            the caller does: for scripts around `fit`, not for the stages of a run.
    """
    # Fabric tells on every launch which precision it uses; who asked for one knows already.
    notices = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = notices.level
    with warnings.catch_warnings():
        # Fabric's own import-time notices are not about anything our users can change.
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric

        if precision == "auto":
            precision = "bf16-mixed" if has_fast_bfloat16() else "32-true"
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        notices.setLevel(logging.WARNING)
        try:
            fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)
            fabric.launch()
        finally:
            notices.setLevel(level)
    return fabric


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """The same (N, C, H, W) tensor laid out NHWC, the layout fast bfloat16 convolutions want."""
    return images.contiguous(memory_format=torch.channels_last)
