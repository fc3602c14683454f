"""Explanation: the typed, versioned result of asking what an anomaly would look like if normal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.pixels import png_bytes
from ifnormal.common.storage import write_atomic
from ifnormal.explanation.document import DOCUMENT, write_document
from ifnormal.explanation.entries import Counterfactual, ExplainedImage, Head, HigherIs, Traversal
from ifnormal.explanation.loading import load_fields
from ifnormal.explanation.opinions import Opinions
from ifnormal.explanation.pictures import PICTURE, heatmap_name, picture_name, pictures_of


@dataclass(frozen=True, eq=False)
class Explanation:
    """N anomalies and, for each, K counterfactuals.

    Images are 8-bit, as saved: every score was measured on exactly these pixels. A counterfactual
    that failed stays in its place with `valid` False and the score it reached.

    Attributes:
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8, G(x, 0, k) of section 3 of the paper.
        calibrated_scores_before: (N,) detector scores of the anomalies, in [0, 1].
        calibrated_scores_after: (N, K) detector scores of the counterfactuals, in [0, 1].
        concept_probabilities: (N, K, K); `[n, k]` is what the concept classifier says of the pair
            (anomaly n, counterfactual k); rows sum to 1.
        calibrated_threshold: calibrated scores above it are flagged as anomalous.
        traversal_targets: (T,) the α asked for, as shares of the anomaly's own score: from 1, the
            anomaly as it is, down to 0.
        traversals: (M, K, T, C, H, W) uint8 for the first M <= N anomalies; M may be 0.
        calibrated_traversal_scores: (M, K, T) detector scores along the traversals.
        names: N names of the anomalies, as the user knows them.
        facts: what produced it: versions, seed, configuration; JSON-compatible.
        own_scores_before, own_scores_after, own_traversal_scores: the same three in the user's own
            units; without them, those in [0, 1].
        own_threshold: the threshold in the user's own units.
        higher_is: what a high score means in the user's own units.
        detector: facts about the detector; JSON-compatible.
        refined: N rows of K, what was done to a counterfactual after the generator, or None;
            () where nothing was.
        heatmaps: (N, H, W) uint8, the detector's own heatmap of each anomaly or what it is
            sensitive to there (`ifnormal.explainers.heatmap`); None where there is none.
        second_opinion: what independent detectors say of both; None where none was asked.
    """

    anomalies: Tensor
    counterfactuals: Tensor
    calibrated_scores_before: Tensor
    calibrated_scores_after: Tensor
    concept_probabilities: Tensor
    calibrated_threshold: float
    traversal_targets: Tensor
    traversals: Tensor
    calibrated_traversal_scores: Tensor
    names: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    own_scores_before: Tensor = None  # type: ignore[assignment]
    own_scores_after: Tensor = None  # type: ignore[assignment]
    own_traversal_scores: Tensor = None  # type: ignore[assignment]
    own_threshold: float = None  # type: ignore[assignment]
    higher_is: HigherIs = "anomalous"
    detector: dict[str, Any] = field(default_factory=dict)
    refined: tuple[tuple[Mapping[str, Any] | None, ...], ...] = ()
    heatmaps: Tensor | None = None
    second_opinion: Opinions | None = None

    def __post_init__(self) -> None:
        for name in ("scores_before", "scores_after", "traversal_scores", "threshold"):
            if getattr(self, f"own_{name}") is None:
                object.__setattr__(self, f"own_{name}", getattr(self, f"calibrated_{name}"))
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
            "calibrated_scores_before": (n,),
            "calibrated_scores_after": (n, k),
            "concept_probabilities": (n, k, k),
            "traversal_targets": (t,),
            "traversals": (m, k, t, *image),
            "calibrated_traversal_scores": (m, k, t),
            "own_scores_before": (n,),
            "own_scores_after": (n, k),
            "own_traversal_scores": (m, k, t),
            **({} if self.heatmaps is None else {"heatmaps": (n, *image[1:])}),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name}: {tuple(getattr(self, name).shape)}, expected {shape}")
        if self.second_opinion is not None and self.second_opinion.shape != (n, k):
            raise ValueError(f"second_opinion: {self.second_opinion.shape}, expected {(n, k)}")
        if len(self.names) != n or m > n:
            raise ValueError(f"{len(self.names)} names and {m} traversals for {n} anomalies")
        if self.refined and [len(row) for row in self.refined] != [k] * n:
            raise ValueError(f"refined must be {n} rows of {k}, or ()")
        for name in ("anomalies", "counterfactuals", "traversals", "heatmaps"):
            pictures = getattr(self, name)
            if pictures is not None and pictures.dtype != torch.uint8:
                raise ValueError(f"{name} must be uint8, is {pictures.dtype}")

    @property
    def scores_before(self) -> Tensor:
        """An earlier name of `calibrated_scores_before`."""
        return self.calibrated_scores_before

    @property
    def scores_after(self) -> Tensor:
        """An earlier name of `calibrated_scores_after`."""
        return self.calibrated_scores_after

    @property
    def traversal_scores(self) -> Tensor:
        """An earlier name of `calibrated_traversal_scores`."""
        return self.calibrated_traversal_scores

    @property
    def threshold(self) -> float:
        """An earlier name of `calibrated_threshold`."""
        return self.calibrated_threshold

    @property
    def valid(self) -> Tensor:
        """(N, K) bool: the detector no longer flags the counterfactual."""
        return self.calibrated_scores_after <= self.calibrated_threshold

    @property
    def flagged(self) -> Tensor:
        """(N,) bool: the detector calls the image anomalous."""
        return self.calibrated_scores_before > self.calibrated_threshold

    @property
    def concepts(self) -> int:
        """K, the number of counterfactuals of each anomaly."""
        return self.counterfactuals.shape[1]

    def __len__(self) -> int:
        return self.anomalies.shape[0]

    def select(self, rows: Sequence[int]) -> Explanation:
        """The anomalies of these rows, in rising order, with all that belongs to them."""
        kept, followed = list(rows), [n for n in rows if n < len(self.traversals)]
        per_anomaly = (
            "anomalies",
            "counterfactuals",
            "calibrated_scores_before",
            "calibrated_scores_after",
        )
        own = ("concept_probabilities", "own_scores_before", "own_scores_after")
        along = ("traversals", "calibrated_traversal_scores", "own_traversal_scores")
        return replace(
            self,
            **{name: getattr(self, name)[kept] for name in (*per_anomaly, *own)},
            **{name: getattr(self, name)[followed] for name in along},
            names=tuple(self.names[n] for n in kept),
            refined=tuple(self.refined[n] for n in kept) if self.refined else (),
            heatmaps=None if self.heatmaps is None else self.heatmaps[kept],
            second_opinion=self.second_opinion and self.second_opinion.select(kept),
        )

    def with_counterfactuals(
        self,
        where: Tensor,
        counterfactuals: Tensor,
        own_scores: Tensor,
        calibrated_scores: Tensor,
        concept_probabilities: Tensor,
    ) -> Explanation:
        """A copy in which P counterfactuals are replaced, with everything that depends on them.

        A traversal whose last target is 0 ends at the new counterfactual. `refined` and
        `second_opinion` say nothing of a new counterfactual.

        Args:
            where: (N, K) bool, True for the P counterfactuals to replace.
            counterfactuals: (P, C, H, W) uint8, in the row-major order of `where`.
            own_scores, calibrated_scores: (P,) detector scores of them.
            concept_probabilities: (P, K) of the pairs (anomaly, new counterfactual).
        """
        new = {
            "counterfactuals": counterfactuals,
            "own_scores_after": own_scores,
            "calibrated_scores_after": calibrated_scores,
            "concept_probabilities": concept_probabilities,
        }
        changed = {name: getattr(self, name).clone() for name in new}
        for name, values in new.items():
            changed[name][where] = values.to(changed[name].dtype)
        if len(self.traversal_targets) and self.traversal_targets[-1] == 0:
            followed = where[: len(self.traversals)]
            for name, end in (
                ("traversals", "counterfactuals"),
                ("own_traversal_scores", "own_scores_after"),
                ("calibrated_traversal_scores", "calibrated_scores_after"),
            ):
                changed[name] = getattr(self, name).clone()
                changed[name][:, :, -1][followed] = changed[end][: len(followed)][followed]
        refined = tuple(
            tuple(None if is_new else note for is_new, note in zip(*row, strict=True))
            for row in zip(where.tolist(), self.refined, strict=bool(self.refined))
        )
        opinions = self.second_opinion and self.second_opinion.without(where)
        return replace(self, **changed, refined=refined, second_opinion=opinions)

    def save(self, folder: Path) -> None:
        """Write the PNGs (`images/`) and `explanation.json` into `folder`.

        File names are numbers, never the anomalies' own names, which may hold anything. Pictures
        of an explanation saved there before go away.
        """
        folder = Path(folder)
        (folder / DOCUMENT).unlink(missing_ok=True)  # its pictures are about to change
        images = self.write_images(folder, range(len(self)))
        kept = {file for image in images for file in pictures_of(image)}
        for stale in (folder / "images").glob("[0-9]*.png"):
            if PICTURE.fullmatch(stale.name) and f"images/{stale.name}" not in kept:
                stale.unlink(missing_ok=True)
        write_document(folder, self.head, images)

    @property
    def head(self) -> Head:
        """What the document says of all images together."""
        channels, height, width = self.anomalies.shape[1:]
        return Head(
            concepts=self.concepts,
            shape=(channels, height, width),
            own_threshold=self.own_threshold,
            calibrated_threshold=self.calibrated_threshold,
            higher_is=self.higher_is,
            traversal_targets=self.traversal_targets.tolist(),
            detector=self.detector,
            facts=self.facts,
            second_opinion=self.second_opinion.detectors if self.second_opinion else (),
            normal_accepted_by=self.second_opinion.normal_accepted_by
            if self.second_opinion
            else (),
        )

    def write_images(self, folder: Path, numbers: Sequence[int]) -> list[ExplainedImage]:
        """Write the PNGs under the given numbers; returns what the document says of the images."""
        own, scores = self.own_scores_before.tolist(), self.calibrated_scores_before.tolist()
        flagged = self.flagged.tolist()
        return [
            ExplainedImage(
                path=name,
                own_score=own[n],
                calibrated_score=scores[n],
                flagged=flagged[n],
                file=_write_png(folder, picture_name(number), self.anomalies[n]),
                counterfactuals=self._write_edits(folder, n, number),
                heatmap=None
                if self.heatmaps is None
                else _write_png(folder, heatmap_name(number), self.heatmaps[n : n + 1]),
                second_opinion=self.second_opinion.before(n) if self.second_opinion else (),
            )
            for n, (name, number) in enumerate(zip(self.names, numbers, strict=True))
        ]

    def _write_edits(self, folder: Path, n: int, number: int) -> list[Counterfactual]:
        own, scores = self.own_scores_after[n].tolist(), self.calibrated_scores_after[n].tolist()
        valid, probabilities = self.valid[n].tolist(), self.concept_probabilities[n].tolist()
        return [
            Counterfactual(
                concept=k,
                file=_write_png(folder, picture_name(number, k), self.counterfactuals[n, k]),
                own_score=own[k],
                calibrated_score=scores[k],
                valid=valid[k],
                concept_probabilities=probabilities[k],
                traversal=self._write_traversal(
                    folder, n, k, picture_name(number, k, traversal=True)
                ),
                refined=self.refined[n][k] if self.refined else None,
                second_opinion=self.second_opinion.after(n, k) if self.second_opinion else (),
            )
            for k in range(self.concepts)
        ]

    def _write_traversal(self, folder: Path, n: int, k: int, name: str) -> Traversal | None:
        if n >= len(self.traversals) or self.traversals.shape[2] == 0:
            return None
        frames = self.traversals[n, k]  # (T, C, H, W) side by side
        return Traversal(
            _write_png(folder, name, torch.cat(list(frames), 2)),
            self.own_traversal_scores[n, k].tolist(),
            self.calibrated_traversal_scores[n, k].tolist(),
        )

    @classmethod
    def load(cls, folder: Path) -> Explanation:
        """Read the images of an explanation folder that were explained, into memory.

        Traversals are read up to the first image that has none; heatmaps if all have one.

        Raises:
            UserError: a file is missing, damaged, of another version, or does not fit the others.
        """
        return cls(**load_fields(Path(folder)))


def _write_png(folder: Path, name: str, image: Tensor) -> str:
    write_atomic(folder / name, png_bytes(image), durable=False)
    return name
