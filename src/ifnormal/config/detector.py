"""Options of the built-in detectors: how one is trained."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from ifnormal.config.checks import require, require_choices

Objective = Literal[
    "bce", "hsc", "dsvdd", "fcdd", "mvg", "padim", "patchcore", "simplenet", "autoencoder", "vae"
]


@dataclass(frozen=True)
class DetectorConfig:
    """How a built-in detector is trained.

    Attributes:
        objective: "bce" is binary cross entropy, "hsc" hypersphere classification, "fcdd" a fully
            convolutional HSC that makes heatmaps; these three need outliers. "dsvdd" is Deep SVDD,
            which needs normal images only. "mvg" and "padim" are Gaussians of the features of a
            pretrained network and "patchcore" a memory of them; they need normal images only and no
            training steps. "simplenet" trains a small network on such features of normal images
            alone. "autoencoder" and "vae" learn to restore normal images, and need neither outliers
            nor a pretrained network.
        steps: optimizer steps.
        batch_size: images per step; half of them are outliers, if the objective uses outliers.
        learning_rate: peak learning rate of the one-cycle schedule.
        false_alarm_rate: the threshold is set so that this share of held-out normal images is
            flagged.
        network: "plain" suits drawings and textures, "residual" small photographs of objects,
            "features" any photographs: it is a head on the pretrained network of `features`.
            "auto" chooses "plain" or "residual" by the setup. "dsvdd" always has the plain network,
            because it must have no bias terms, and "fcdd" has a network of its own.
        width: channels of the first stage of the network; later stages have 2x and 4x as many.
        augment: whether training images are randomly shifted, turned, resized and changed in
            brightness and contrast, each once for the network "features"; "auto" does so for fewer
            than 2,000 normal images. Choose flip, turn, resize and brightness so that a normal
            image stays normal.
        flip: directions in which training images are randomly mirrored: if they are augmented, and
            always for the residual network.
        turn: largest rotation of augmented images, in degrees; 180 if any orientation is normal.
        resize: largest change of size of augmented images, as a share.
        brightness: largest change of brightness and contrast of augmented images, as a share.
        confetti: share of the outliers that are made anew in every step, by adding random patches
            to normal images (Liznerski et al. 2021); "fcdd" learns from their masks.
        features: the pretrained network whose features "mvg", "padim", "patchcore" and others read:
            "efficientnet-lite0", or "dinov2:", "transformers:", "timm:" or "torchvision:", followed
            by the name of a model.
        features_side: images are resized to so many pixels for that network, a multiple of 32; a
            vision transformer takes the next lower multiple of its patches.
        useful_outliers: train only with those synthetic outliers that are neither unrealistic nor
            indistinguishable from normal images; the first 2,000 are rated, at 12 ms each on one
            core.
    """

    objective: Objective = "bce"
    steps: int = 800
    batch_size: int = 128
    learning_rate: float = 2e-3
    false_alarm_rate: float = 0.05
    network: Literal["auto", "plain", "residual", "features"] = "auto"
    width: int = 32
    augment: Literal["auto", "on", "off"] = "auto"
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    turn: float = 4.0
    resize: float = 0.03
    brightness: float = 0.05
    confetti: float = 0.0
    features: str = "efficientnet-lite0"
    features_side: int = 224
    useful_outliers: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        require(0 <= self.turn <= 180, "detector turn must lie between 0 and 180 degrees.")
        for name in ("resize", "brightness"):
            require(0 <= getattr(self, name) < 1, f"detector {name} must lie between 0 and 1.")
        require(0 <= self.confetti <= 1, "detector confetti must lie between 0 and 1.")
        require(
            not (self.confetti and self.network == "features"),
            'detector network "features" reads images once, but confetti changes in every step; '
            "set confetti to 0, or choose another network.",
        )
        require(self.steps >= 1, "detector steps must be at least 1.")
        require(self.batch_size >= 2, "detector batch_size must be at least 2.")
        require(0 < self.false_alarm_rate < 1, "false_alarm_rate must lie between 0 and 1.")
        require(0 < self.learning_rate < inf, "detector learning_rate must be positive and finite.")
        require(
            self.features_side >= 32 and self.features_side % 32 == 0,
            "detector features_side must be a multiple of 32.",
        )
        require(self.width >= 1, "detector width must be at least 1.")
