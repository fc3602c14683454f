"""Cards: setups as data. A YAML file describes a family, and each of its setups has a card.

Every setup of the paper's evaluation is in `benchmarks/setups/`; a user adds more by writing a file
like these into a folder of their own. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ifnormal.data.sources.source import Source

Builder = Literal["classes", "colored", "mvtec"]
Group = Literal["single", "several", "industrial"]


@dataclass(frozen=True)
class Exposure:
    """Outliers to train with.

    Attributes:
        use: "first" takes the first of the sources that is there, "all" mixes those that are.
        of: sources and their shares of a mix. Some need no set of their own: "letters" (EMNIST,
            else Omniglot, else rendered ones), "synthetic" (normal training images, spoilt in one
            place), "altered" (with other colours or other content), and "rest" (training images
            of classes that are neither normal nor an anomaly).
        avoid: normal class -> classes of the sources that look like it and are left out.
    """

    use: Literal["first", "all"]
    of: tuple[tuple[Source, float], ...]
    avoid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """One setup: which images, which of them are normal, and how long to train.

    Attributes:
        id: such as "mnist/one-vs-rest/7".
        family: what is before the first slash.
        title: of the setup, in a line.
        normal: what is normal, in words.
        builder: what makes a setup of it: "classes" of labelled images, "colored" digits, or
            "mvtec", a category in the layout of MVTec-AD.
        source: the images.
        exposure: the outliers.
        group: where the paper has it: "single" or "several" normal classes, or "industrial".
        size: height and width that images are read with.
        pad: black pixels around each after that.
        channels: 1 for grey, 3 for RGB.
        pictures: "drawings" or "photographs".
        attribute: what the classes are, in a word, such as "digit".
        normal_classes: names of classes, or their numbers.
        anomaly_classes: likewise; () is every other class.
        classes: key of a class -> its name. Only these are used, where there are any.
        options: what the builder has to know beyond that.
        budgets: "small" and "paper" -> options by dotted names, such as {"fit.steps": 800}.
        file: where it is described.
    """

    id: str
    family: str
    title: str
    normal: str
    builder: Builder
    source: Source
    exposure: Exposure
    group: Group
    size: int
    channels: Literal[1, 3]
    file: Path
    pad: int = 0
    pictures: Literal["drawings", "photographs"] = "photographs"
    attribute: str = "class"
    normal_classes: tuple[str | int, ...] = ()
    anomaly_classes: tuple[str | int, ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
