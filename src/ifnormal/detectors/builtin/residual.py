"""The residual network that the built-in detectors train for small photographs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ifnormal.config import SMALL_SIDE

_STEP = 2


class ResidualBackbone(nn.Module):
    """A small residual network with batch normalisation (He et al. 2016), for photographs.

    It reads cells of 2x2 pixels, halves its grid twice (images beyond 48 pixels three times) and
    averages over it, as objects may be anywhere. Training uses batch normalisation; `fold` then
    makes this part of the convolutions, so that an image's outputs do not depend on its batch and
    the network costs no more than one without.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, outputs: int, bias: bool) -> None:
        super().__init__()
        if not bias:
            raise ValueError("a residual backbone has bias terms")
        widths = [width, 2 * width, 4 * width] + [4 * width] * (max(shape[1:]) > SMALL_SIDE)
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(_STEP),
            _Normalised(_STEP**2 * shape[0], width, 3),
            nn.ReLU(),
        ]
        for index, (before, after) in enumerate(zip([width, *widths], widths, strict=False)):
            layers.append(_Block(before, after, 2 if index else 1))
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], outputs)

    def fit_statistics(self, normal: Tensor) -> None:
        """Does nothing: the place of an object differs from photograph to photograph."""

    def fold(self) -> None:
        """Merge each batch normalisation into its convolution; there is no more training after."""
        self.eval()
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, _Normalised):
                    setattr(module, name, fuse_conv_bn_eval(child.conv, child.norm))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) images in [0, 1] to the head's (N, outputs) and (N, 4 width) features."""
        features = self.stages(4 * images - 2).mean((2, 3))
        return self.head(features), features


class _Normalised(nn.Module):
    """A convolution that keeps or, with stride 2, halves the size, and batch normalisation."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, seen: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.conv(seen))
        return normalised


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _Normalised(before, after, 3, stride)
        self.second = _Normalised(after, after, 3)
        self.pool: nn.Module = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.skip: nn.Module = (
            nn.Identity() if before == after and stride == 1 else _Normalised(before, after, 1)
        )

    def forward(self, seen: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(seen)))
        return F.relu(self.skip(self.pool(seen)) + added)
