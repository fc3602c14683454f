"""Which images, and which of them are normal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifnormal.config.checks import require, require_choices

DATA_PATHS = ("data_root", "cards", "normal", "outlier_images", "anomalies")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and which of them are normal.

    Attributes:
        setup: name of a registered setup; `colored-mnist` is the paper's C-MNIST, `folder` is your
            own images, and a name with a slash such as `mnist/one-vs-rest/7` is one of the cards
            that `ifnormal bench list` shows.
        data_root: folder of Hugging Face style Parquet sets (`mnist/`, `emnist_letters/`); without
            it the embedded 5,000 digits are used. On the command line, the environment variable
            IFNORMAL_DATA is its default.
        cards: folder of cards of your own, YAML files that describe more setups. The environment
            variable IFNORMAL_CARDS does the same.
        normal_digit: the digit that is normal in any colour.
        normal_color: the colour that makes any digit normal.
        colors_per_digit: "all" draws every training digit in each colour that its role allows,
            "one" gives each digit a single colour by the seed.
        drawings: use at most this many drawings, test drawings included; 0 means all. Those that a
            judge is trained with are not counted.
        outliers: number of outlier-exposure letters or, of `folder`, of synthetic outliers, as far
            as they fit into 128 MB.
        test_images: of a card: at most this many normal images to test with, and as many
            anomalies, each class in proportion; 0 means all.
        labelled: of a card of industrial images: so many test anomalies, evenly over the kinds of
            defects, are moved to training with their masks.
        normal: `folder`: a folder of normal images, and only such.
        outlier_images: `folder`: a folder of images that are not normal, to train with; without it
            synthetic ones are made of the normal images.
        anomalies: `folder`: a folder of anomalies that were never trained with, for the figures.
        size: `folder`: height and width that every image is brought to, a multiple of 4.
        channels: `folder`: 1 reads images as grey, 3 as RGB.
    """

    setup: str = "colored-mnist"
    data_root: Path | None = None
    cards: Path | None = None
    normal_digit: int = 1
    normal_color: str = "cyan"
    colors_per_digit: Literal["one", "all"] = "all"
    drawings: int = 0
    outliers: int = 12000
    test_images: int = 0
    labelled: int = 0
    normal: Path | None = None
    outlier_images: Path | None = None
    anomalies: Path | None = None
    size: int = 64
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.size >= 8 and self.size % 4 == 0, "size must be a multiple of 4, at least 8.")
        require(0 <= self.normal_digit <= 9, "normal_digit must be between 0 and 9.")
        require(
            self.drawings == 0 or self.drawings >= 200,
            "drawings must be 0 (all) or at least 200, so that every digit occurs in every split.",
        )
        require(self.outliers >= 32, "outliers must be at least 32.")
        require(self.test_images >= 0, "test_images must be 0 (all) or positive.")
        require(self.labelled >= 0, "labelled must be 0 (none) or positive.")


def data_config(saved: dict[str, Any]) -> DataConfig:
    """DataConfig from the JSON of `asdict`."""
    paths = {name: Path(saved[name]) if saved.get(name) else None for name in DATA_PATHS}
    return DataConfig(**{**saved, **paths})
