"""Options of a setup: which images are used, and which of them are normal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifnormal.config.checks import require, require_choices

DATA_PATHS = ("data_root", "cards", "normal", "outlier_images", "anomalies")


@dataclass(frozen=True)
class DataConfig:
    """Which images are used, and which of them are normal.

    Attributes:
        setup: name of the setup: `colored-mnist` is the C-MNIST of the paper, `folder` takes your
            own folders, and a name with a slash, such as `mnist/one-vs-rest/7`, is a setup that
            `ifnormal bench list` shows.
        data_root: folder of data sets as Parquet files (`mnist/`, `emnist_letters/`), laid out as
            on the Hugging Face hub. By default the 5,000 digits of the extra `demo` are used. On
            the command line, the environment variable IFNORMAL_DATA is the default.
        cards: folder of your own setups, as YAML files; the environment variable IFNORMAL_CARDS
            does the same.
        normal_digit: `colored-mnist`: the digit that is normal in every colour.
        normal_color: `colored-mnist`: the colour in which every digit is normal.
        colors_per_digit: `colored-mnist`: "all" draws each training digit in every colour that
            keeps it normal or anomalous, "one" in a single random colour.
        drawings: `colored-mnist`: largest number of drawings to use, with those for testing but
            without those that train the judge; 0 uses all.
        outliers: number of outliers for training: letters for digits, synthetic outliers for
            `folder`. Synthetic outliers take at most 128 MB.
        test_images: a setup with a slash: largest number of normal test images, and of test
            anomalies, with the classes in proportion; 0 uses all.
        labelled: a setup of industrial images: this many test anomalies, of all kinds of defects
            alike, are used for training, with their masks.
        normal: `folder`: a folder of normal images only.
        outlier_images: `folder`: a folder of images that are not normal, for training; by default
            synthetic outliers are made from the normal images.
        anomalies: `folder`: a folder of anomalies for testing; they are never trained on.
        size: `folder`: height and width that all images are scaled to, a multiple of 4.
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
