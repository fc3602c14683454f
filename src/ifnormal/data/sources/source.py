"""Source: a named set of images, and where to get it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A set of images by its name, and where to get it.

    Attributes:
        name: its folder in the data root.
        title: what people call it.
        hub: id of the data set on the Hugging Face hub, None where it is not to be fetched.
        include: which files of it, as a pattern.
        label: the column with the class, of Parquet files.
        test: what the set calls its test split.
        note: where a person gets it.
    """

    name: str
    title: str = ""
    hub: str | None = None
    include: str = "*.parquet"
    label: str = "label"
    test: str = "test"
    note: str = ""
