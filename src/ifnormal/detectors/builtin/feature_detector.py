"""FeatureDetector: the base class of detectors on the features of a frozen network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.feature_cache import cached_features
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.detectors.fingerprint import digest
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.loading import feature_extractor

_EXTRACTOR = "extractor."
_WORST = 0.02
_MOST_IMAGES = 1000


class FeatureDetector(BuiltinDetector):
    """A detector on the features of a network that was trained on other images.

    Its folder names the network and the digest of its weights, and does not hold them. Statistics
    that a subclass learns are buffers, which `restore` registers by their names.
    """

    def __init__(self, config: DetectorConfig, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.extractor = feature_extractor(config.features, config.features_side)
        # With the exact weights, so that a saved detector finds them again.
        self.config = replace(config, features=self.extractor.name)

    def features_of(
        self,
        setup: AnomalySetup,
        function: Callable[[Tensor], Tensor],
        cached_as: str | None = None,
    ) -> Tensor:
        """A function of the normal training images, (N, ...) float32, without a gradient.

        Args:
            setup: with the images.
            function: of the extractor.
            cached_as: see `compute`.

        Raises:
            UserError: there are fewer than two images, or all features are the same.
        """
        count, name = len(setup.train_normal), self.config.objective
        if count < 2:
            raise UserError(
                f"The {name} detector takes at least two normal images to train with, not {count}; "
                "give more."
            )
        features = self.compute(setup.train_normal, function, cached_as)
        if bool((features == features[:1]).all()):
            raise UserError(
                f"All {count} normal images have the same features, so that {name} cannot tell "
                "what is normal; give images that differ."
            )
        return features

    def compute(
        self, images: Tensor, function: Callable[[Tensor], Tensor], cached_as: str | None = None
    ) -> Tensor:
        """A function (N, ...) float32 of (N, C, H, W) uint8 images, without a gradient.

        With a name, `cached_as`, they are kept on disk; for functions that depend on nothing but
        the extractor.
        """
        if cached_as is None:
            return in_batches(function, images)
        return cached_features(
            self.extractor, images, cached_as, lambda: in_batches(function, images)
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """Everything learned; not the network."""
        own = self.state_dict()
        return {name: own[name].contiguous() for name in own if not name.startswith(_EXTRACTOR)}

    def more_facts(self) -> Mapping[str, Any]:
        """The digest of the network's weights."""
        return {"features_sha256": digest(self.extractor.state_dict())}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what was saved, and freeze.

        Raises:
            UserError: the weights of the network are not those of the training.
        """
        if self.more_facts()["features_sha256"] != facts["features_sha256"]:
            raise UserError(
                f"The weights of {self.extractor.name} are not those that the "
                f"{self.config.objective} detector was trained on; train it again."
            )
        known = dict(self.named_parameters())
        for name, tensor in tensors.items():
            if name not in known:
                self.register_buffer(name, tensor)
        self.freeze()
        self.load_state_dict(dict(tensors), strict=False)


@contextmanager
def shared_features(detectors: Iterable[Detector]) -> Iterator[None]:
    """Compute the features of an image once for all these detectors, as far as they are the same.

    Detectors on the same network share it from now on.
    """
    first: dict[tuple[str, int], FeatureExtractor] = {}
    with ExitStack() as stack:
        for detector in detectors:
            if isinstance(detector, FeatureDetector):
                key = (detector.config.features, detector.config.features_side)
                if key not in first:
                    first[key] = detector.extractor
                    stack.enter_context(detector.extractor.remembering())
                detector.extractor = first[key]
        yield


class PatchDetector(FeatureDetector):
    """A detector that gives every place of an image an anomaly score.

    A subclass defines `distances`.
    """

    grid: ClassVar[int] = 14

    def normal_patches(self, setup: AnomalySetup, seed: int) -> Tensor:
        """`patches` of at most 1,000 of the normal training images, drawn at random.

        The limit keeps those of EfficientNet-Lite0 within 120 MB.

        Raises:
            UserError: see `features_of`.
        """
        images = setup.train_normal
        if len(images) > _MOST_IMAGES:
            rng = generator(seed, "normal images of patches")
            images = images[torch.randperm(len(images), generator=rng)[:_MOST_IMAGES]]
        return self.features_of(replace(setup, train_normal=images), self.patches)

    @abstractmethod
    def distances(self, patches: Tensor) -> Tensor:
        """Anomaly scores (N, h, w), at least 0, of patch features (N, F, h, w)."""

    def patches(self, images: Tensor) -> Tensor:
        """Features (N, F, h, w) of the middle stages of the network, brought to one grid.

        Each is the mean over a neighbourhood of 3x3, as in PatchCore (Roth et al., CVPR 2022,
        equation 2); it makes up for parts that lie a little elsewhere.
        """
        maps = self.extractor.maps(images, self.extractor.middle)
        size = (self.grid, self.grid)
        near = (F.avg_pool2d(part, 3, 1, 1, count_include_pad=False) for part in maps)
        return torch.cat([F.adaptive_avg_pool2d(part, size) for part in near], 1)

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the largest 2 % of distances (N,), and the mean patch features (N, F)."""
        patches = self.patches(images)
        return mean_of_largest(self.distances(patches).flatten(1)), patches.mean((2, 3))

    def heatmap(self, images: Tensor) -> Tensor:
        """Heatmaps (N, H, W), float32 and at least 0, of (N, C, H, W) images in [0, 1]."""
        heat = self.distances(self.patches(images))[:, None]
        return F.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def mean_of_largest(distances: Tensor) -> Tensor:
    """The mean (N,) of the largest 2 % of distances (N, P), at least of one."""
    return distances.topk(max(1, round(_WORST * distances.shape[1])), 1).values.mean(1)
