"""Card: one setup as data. A YAML file describes a family of setups, each of which has a card.

The cards of the paper's evaluation are in `benchmarks/setups/`; users can write files of their own
and name their folder. Does not import torch.
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
        use: "first" takes the first available source, "all" mixes all available ones.
        of: sources and their shares of a mix. These need no set of their own: "letters" (EMNIST,
            else Omniglot, else rendered letters), "synthetic" (normal training images with small
            damage), "altered" (normal training images with other colours or content) and "rest"
            (training images of classes that are neither normal nor anomalous).
        avoid: normal class -> similar classes of the sources, which are left out.
    """

    use: Literal["first", "all"]
    of: tuple[tuple[Source, float], ...]
    avoid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """One setup: its images, which of them are normal, and how long to train.

    Attributes:
        id: such as "mnist/one-vs-rest/7".
        family: the part of the id before the first slash.
        title: one line about the setup.
        normal: what is normal, in words.
        builder: how the setup is built: from "classes" of labelled images, "colored" digits, or
            "mvtec", a category in the layout of MVTec-AD.
        source: the images.
        exposure: the outliers.
        group: table of the paper: "single" or "several" normal classes, or "industrial".
        size: height and width to which images are scaled.
        pad: black pixels added on each side after that.
        channels: 1 for grey, 3 for RGB.
        pictures: "drawings" or "photographs".
        attribute: a word for the classes, such as "digit".
        normal_classes: names or numbers of classes.
        anomaly_classes: names or numbers of classes; () is every other class.
        classes: key of a class -> its name. If there are any, other classes are not used.
        options: further options of the builder.
        budgets: "small" and "paper" -> options by dotted names, such as {"fit.steps": 800}.
        file: the YAML file of its family.
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
