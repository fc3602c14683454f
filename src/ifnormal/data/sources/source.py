"""Source: a named set of images and its place on the hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A named set of images and how to get it.

    Attributes:
        name: its folder in the data root.
        title: its usual name.
        hub: id of the data set on the Hugging Face hub, None if it is not there.
        include: pattern of the files to download.
        label: column of the class in Parquet files.
        test: its name of the test split.
        note: where to get it by hand.
    """

    name: str
    title: str = ""
    hub: str | None = None
    include: str = "*.parquet"
    label: str = "label"
    test: str = "test"
    note: str = ""
