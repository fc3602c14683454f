"""Feature extractors by their SPEC. A new kind is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from ifnormal.common.errors import UserError
from ifnormal.features.efficientnet_lite0 import NAME, efficientnet_lite0
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.timm_network import timm_network
from ifnormal.features.torchvision_network import torchvision_network
from ifnormal.features.transformers_network import transformers_network

# kind -> (what follows the colon of the SPEC, side of the resized images in pixels) -> extractor
KINDS: dict[str, Callable[[str, int], FeatureExtractor]] = {
    NAME: lambda _, side: efficientnet_lite0(side),
    "dinov2": transformers_network,
    "timm": timm_network,
    "torchvision": torchvision_network,
    "transformers": transformers_network,
}


def feature_extractor(spec: str = NAME, side: int = 224) -> FeatureExtractor:
    """A frozen extractor.

    Args:
        spec: the kind of extractor, followed by a colon and the name of a model where there are
            several.
        side: images are resized to squares of so many pixels.

    Raises:
        UserError: there is no such kind, or it cannot be loaded.
    """
    kind, _, model = spec.partition(":")
    if kind not in KINDS:
        raise UserError(f"There are no features {spec!r}; choose from {', '.join(sorted(KINDS))}.")
    if kind != NAME and not model:
        raise UserError(
            f"The features {kind!r} need the name of a model, as in dinov2:facebook/dinov2-small; "
            f"write {kind}:NAME."
        )
    return KINDS[kind](model, side)
