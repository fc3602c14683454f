"""Explanation: the typed, versioned result of asking what an anomaly would look like if normal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.errors import UserError
from ifnormal.pixels import png_bytes
from ifnormal.storage import load_tensors, save_tensors, write_atomic

FORMAT_VERSION = 1
PICTURE = re.compile(r"\d{4,}_(anomaly|concept\d+)\.png")


@dataclass(frozen=True, eq=False)
class Explanation:
    """N anomalies and, for each, K counterfactuals.

    Images are 8-bit, as saved: every score was measured on exactly these pixels. A counterfactual
    that failed stays in its place with `valid` False and the score it reached.

    Attributes:
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8, G(x, 0, k) of section 3 of the paper.
        scores_before: (N,) detector scores of the anomalies, in [0, 1].
        scores_after: (N, K) detector scores of the counterfactuals, in [0, 1].
        concept_probabilities: (N, K, K); `[n, k]` is what the concept classifier says of the pair
            (anomaly n, counterfactual k); rows sum to 1.
        threshold: scores above it are flagged as anomalous.
        traversal_targets: (T,) the α asked for, as shares of the anomaly's own score: from 1, the
            anomaly as it is, down to 0.
        traversals: (M, K, T, C, H, W) uint8 for the first M <= N anomalies; M may be 0.
        traversal_scores: (M, K, T) detector scores along the traversals.
        names: N names of the anomalies, as the user knows them.
        facts: what produced it: versions, seed, configuration; JSON-compatible.
    """

    anomalies: Tensor
    counterfactuals: Tensor
    scores_before: Tensor
    scores_after: Tensor
    concept_probabilities: Tensor
    threshold: float
    traversal_targets: Tensor
    traversals: Tensor
    traversal_scores: Tensor
    names: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.anomalies.ndim != 4 or self.anomalies.shape[1] not in (1, 3):
            raise ValueError(
                f"anomalies: {tuple(self.anomalies.shape)}, expected (N, 1 or 3, H, W)"
            )
        if self.counterfactuals.ndim != 5 or self.traversals.ndim != 6:
            raise ValueError("counterfactuals are (N, K, C, H, W), traversals (M, K, T, C, H, W)")
        n, image = self.anomalies.shape[0], self.anomalies.shape[1:]
        k = self.counterfactuals.shape[1]
        m, t = self.traversals.shape[0], self.traversals.shape[2]
        expected = {
            "counterfactuals": (n, k, *image),
            "scores_before": (n,),
            "scores_after": (n, k),
            "concept_probabilities": (n, k, k),
            "traversal_targets": (t,),
            "traversals": (m, k, t, *image),
            "traversal_scores": (m, k, t),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name}: {tuple(getattr(self, name).shape)}, expected {shape}")
        if len(self.names) != n or m > n:
            raise ValueError(f"{len(self.names)} names and {m} traversals for {n} anomalies")
        for name in ("anomalies", "counterfactuals", "traversals"):
            if getattr(self, name).dtype != torch.uint8:
                raise ValueError(f"{name} must be uint8, is {getattr(self, name).dtype}")

    @property
    def valid(self) -> Tensor:
        """(N, K) bool: the detector no longer flags the counterfactual."""
        return self.scores_after <= self.threshold

    @property
    def concepts(self) -> int:
        """K, the number of ways each anomaly is edited."""
        return self.counterfactuals.shape[1]

    def __len__(self) -> int:
        return self.anomalies.shape[0]

    def save(self, folder: Path) -> None:
        """Write PNGs (`images/`), `explanation.json` and its safetensors into `folder`.

        File names are numbers, never the anomalies' own names, which may hold anything. Pictures
        of an explanation saved there before go away.
        """
        folder = Path(folder)
        items: list[dict[str, Any]] = []
        pictures: set[str] = set()
        for n, name in enumerate(self.names):
            anomaly = f"images/{n:04d}_anomaly.png"
            edited = [f"images/{n:04d}_concept{k}.png" for k in range(self.concepts)]
            write_atomic(folder / anomaly, png_bytes(self.anomalies[n]), durable=False)
            for k, path in enumerate(edited):
                picture = png_bytes(self.counterfactuals[n, k])
                write_atomic(folder / path, picture, durable=False)
            pictures.update([anomaly, *edited])
            items.append(
                {
                    "name": name,
                    "anomaly": anomaly,
                    "counterfactuals": edited,
                    "score_before": float(self.scores_before[n]),
                    "scores_after": self.scores_after[n].tolist(),
                    "valid": self.valid[n].tolist(),
                }
            )
        tensors = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if isinstance(getattr(self, name), Tensor)
        }
        facts = {
            "format": "ifnormal.explanation",
            "version": FORMAT_VERSION,
            "threshold": self.threshold,
            "facts": self.facts,
            "items": items,
        }
        save_tensors(folder, "explanation", tensors, facts)
        for stale in (folder / "images").glob("[0-9]*.png"):
            if PICTURE.fullmatch(stale.name) and f"images/{stale.name}" not in pictures:
                stale.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Explanation:
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing, damaged, of another version, or does not fit the others.
        """
        folder = Path(folder)
        tensors, facts = load_tensors(folder, "explanation")
        if facts.get("format") != "ifnormal.explanation" or facts.get("version") != FORMAT_VERSION:
            raise UserError(
                f"{folder}/explanation.json is not an explanation of format {FORMAT_VERSION}; "
                "write it again with this version of ifnormal."
            )
        try:
            names = tuple(str(item["name"]) for item in facts["items"])
            threshold = float(facts["threshold"])
            return cls(**tensors, threshold=threshold, names=names, facts=facts["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder}/explanation.json and its tensors do not fit together ({error!r}); "
                "restore the folder or write it again."
            ) from None
