"""Explanation: the typed result of explaining images, and the folder that it is kept in.

`Explanation` is loaded when first used: reading a document needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ifnormal.explanation.document import read_document

if TYPE_CHECKING:
    from ifnormal.explanation.explanation import Explanation

__all__ = ["Explanation", "read_document"]


def __getattr__(name: str) -> Any:
    if name != "Explanation":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ifnormal.explanation.explanation import Explanation

    return Explanation
