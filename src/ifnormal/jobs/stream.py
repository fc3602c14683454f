"""Explaining image files by the thousand: in parts, in constant memory, broken off and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ifnormal.common.errors import UserError, printable
from ifnormal.common.progress import Progress
from ifnormal.common.provenance import versions
from ifnormal.data.files.reading import OnBadImage, read_good_images
from ifnormal.detectors.detector import (
    Detector,
    device_of,
    in_batches,
)
from ifnormal.detectors.fingerprint import detector_fingerprint, digest, probe_scores
from ifnormal.evaluation.independent_detectors import IndependentDetectors
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import write_document
from ifnormal.explanation.entries import ExplainedImage, Head, SkippedImage
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.opinion_totals import OpinionTotals
from ifnormal.explanation.totals import Counts, ImprovementTotals
from ifnormal.jobs.parts import (
    PART_SIZE,
    Job,
    Part,
    begin,
    digest_files,
    has_part,
    is_whole,
    read_part,
    write_part,
)
from ifnormal.jobs.run_folder import require_writable
from ifnormal.report import write_report

Improve = Callable[[Explanation], Explanation]
Which = Literal["flagged", "all"]


@dataclass(frozen=True)
class Streaming:
    """How a list of files is explained.

    Attributes:
        which: explain the flagged images, or all.
        min_score: in the user's own units; explain images from this score on instead.
        on_bad: "skip" lists what cannot be read, "error" stops at it.
        traversals: how many images from the start of the list get the images on the way to each
            counterfactual; None for all of them. It goes by the list rather than by what is
            flagged, so that shards agree.
        traversal_steps: images on such a way; 0 for none.
        index: do the parts whose number leaves this rest when divided by `of`.
        of: the number of shards that write into the same folder.
        fresh: remove the explanation that is in the folder and begin anew.
        facts: more that decides how it turns out, such as a refinement; JSON-compatible.
    """

    which: Which = "flagged"
    min_score: float | None = None
    on_bad: OnBadImage = "skip"
    traversals: int | None = None
    traversal_steps: int = 9
    index: int = 0
    of: int = 1
    fresh: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        folder: where the explanation is.
        counts: of all images if `is_complete`, else of the parts of this shard.
        kept: files that an earlier call had done.
        images_per_second: files done by this call a second; 0 where there was nothing to do.
        is_complete: every part is there, so that explanation and report were written.
        report: where the report is.
        improvement: what `improve` gave, of the same images as `counts`.
        opinions: what independent detectors say, of the same images as `counts`.
        head: what holds for all images.
    """

    folder: Path
    counts: Counts
    kept: int
    images_per_second: float
    is_complete: bool
    report: Path | None
    improvement: ImprovementTotals
    opinions: OpinionTotals
    head: Head


def explain_images(
    explainer: Explainer,
    files: Sequence[Path],
    folder: Path,
    how: Streaming | None = None,
    improve: Improve | None = None,
    independent: IndependentDetectors | None = None,
) -> Summary:
    """Score image files, explain those that are flagged, and write the explanation folder.

    The same call again keeps the parts that are done. Whoever finds all parts done, of however
    many shards, puts them together.

    Args:
        explainer: fitted.
        files: as `find_images` finds them.
        folder: `explanation.json`, `report.html`, `images/` and `parts/` go here.
        how: what to explain, and which part of it.
        improve: applied to the explanation of each part, such as a refinement; name it in
            `how.facts`, so that it is not mixed up with another one.
        independent: detectors that are asked for a second opinion, after `improve`.

    Raises:
        UserError: the folder cannot be written or holds another explanation, an image cannot be
            read and that is an error, or the options contradict each other.
    """
    how, folder = how or Streaming(), Path(folder)
    _require_consistent(how)
    require_writable(folder)
    head, job = _head(explainer, how, independent), _job(explainer, files, how, independent)
    begin(folder, job, how.fresh, alone=how.of == 1)
    total = -(-len(files) // PART_SIZE)
    mine = range(how.index, total, how.of)
    left = [number for number in mine if not is_whole(folder, job, head, number)]
    kept = sum(len(_rows(files, n)) for n in mine) - sum(len(_rows(files, n)) for n in left)
    started, done = time.perf_counter(), 0
    with Progress("explain", len(files), start=kept) as progress:
        for number in left:
            part = _explain_part(explainer, files, number, folder, how, improve, independent)
            write_part(folder, job, number, part)
            done += len(_rows(files, number))
            speed = done / (time.perf_counter() - started)
            progress.report(kept + done, {"images/s": speed})
    speed = done / (time.perf_counter() - started) if done else 0.0
    is_complete = all(has_part(folder, number) for number in range(total))
    parts = _Parts(folder, job, head, range(total) if is_complete else mine)
    if is_complete:
        write_document(folder, head, parts.images(), parts.skipped())
    report = write_report(folder) if is_complete else None
    counts, improvement, opinions = parts.totals()
    return Summary(
        folder,
        counts,
        kept,
        speed,
        is_complete,
        report,
        improvement,
        opinions,
        head,
    )


@dataclass(frozen=True)
class _Parts:
    """Finished parts, read from disk one after the other, as often as needed."""

    folder: Path
    job: Job
    head: Head
    numbers: range

    def images(self) -> Iterator[ExplainedImage]:
        for part in self._all():
            yield from part.images

    def skipped(self) -> Iterator[SkippedImage]:
        for part in self._all():
            yield from part.skipped

    def totals(self) -> tuple[Counts, ImprovementTotals, OpinionTotals]:
        counts, improvement, opinions = Counts(), ImprovementTotals(), OpinionTotals()
        for part in self._all():
            counts += Counts.of([*part.images, *part.skipped])
            improvement += ImprovementTotals.of(part.images)
            opinions += OpinionTotals.of(part.images)
        return counts, improvement, opinions

    def _all(self) -> Iterator[Part]:
        for number in self.numbers:
            part = read_part(self.folder, self.job, self.head, number)
            if part is None:
                raise UserError(
                    f"Part {number} in {self.folder}/parts is damaged or of another explanation; "
                    "run the same command again, as a single shard."
                )
            yield part


def _explain_part(
    explainer: Explainer,
    files: Sequence[Path],
    number: int,
    folder: Path,
    how: Streaming,
    improve: Improve | None,
    independent: IndependentDetectors | None,
) -> Part:
    """Read, score and explain the files of one part, and write their pictures."""
    detector, rows = explainer.detector, _rows(files, number)
    read = read_good_images([files[row] for row in rows], detector.shape, how.on_bad)
    skipped = [SkippedImage(bad.path, bad.reason) for bad in read.skipped]
    if len(read) == 0:
        return Part([], skipped)
    device = device_of(detector)
    log_odds = in_batches(lambda batch: detector.inspect(batch.to(device))[0], read.images)
    own, scores = detector.own_units(log_odds), log_odds.sigmoid()
    places = _places(files, rows, read.names)
    usable = torch.isfinite(own) & torch.isfinite(scores)
    skipped += _unscored(read.names, own, usable, "it", how)
    flagged = scores > detector.threshold
    chosen = (usable & _wanted(detector, own, flagged, how)).nonzero().flatten().tolist()
    explained: dict[int, ExplainedImage] = {}
    if chosen:
        most = len(files) if how.traversals is None else how.traversals
        followed = sum(places[n] < most for n in chosen) if how.traversal_steps else 0
        explanation = explainer.explain(
            read.images[chosen],
            [read.names[n] for n in chosen],
            traversals=followed,
            traversal_steps=max(how.traversal_steps, 2),
        )
        # One image may score otherwise in another batch, by a last digit: one word is enough.
        explanation = replace(
            explanation, calibrated_scores_before=scores[chosen], own_scores_before=own[chosen]
        )
        explanation = improve(explanation) if improve else explanation
        explanation = independent.ask(explanation) if independent else explanation
        lowest = _lowest(explanation)
        skipped += _unscored(explanation.names, lowest, lowest.isfinite(), "an edit of it", how)
        whole = lowest.isfinite().nonzero().flatten().tolist()
        usable[[n for n in chosen if n not in {chosen[row] for row in whole}]] = False
        chosen = [chosen[row] for row in whole]
        entries = explanation.select(whole).write_images(folder, [places[n] for n in chosen])
        explained = dict(zip(chosen, entries, strict=True))
    images = [
        explained.get(n)
        or ExplainedImage(read.names[n], float(own[n]), float(scores[n]), bool(flagged[n]))
        for n in range(len(read))
        if bool(usable[n])
    ]
    return Part(images, skipped)


def _wanted(detector: Detector, own: Tensor, flagged: Tensor, how: Streaming) -> Tensor:
    """(N,) bool: the images to explain."""
    if how.min_score is not None:
        far = own >= how.min_score if detector.higher_is == "anomalous" else own <= how.min_score
        return far
    return torch.ones_like(flagged) if how.which == "all" else flagged


def _lowest(explanation: Explanation) -> Tensor:
    """(N,) the lowest own score of all edits of an image; NaN if one is NaN, -inf if one is inf."""
    lowest = torch.zeros(len(explanation))
    for scores in (explanation.own_scores_after, explanation.own_traversal_scores):
        flat = scores.flatten(1)
        finite = torch.where(flat == torch.inf, -torch.inf, flat)
        if flat.shape[1]:
            rows = slice(len(scores))
            lowest[rows] = torch.minimum(lowest[rows], finite.amin(1))
    return lowest


def _unscored(
    names: Sequence[str], scores: Tensor, usable: Tensor, what: str, how: Streaming
) -> list[SkippedImage]:
    """Images that the detector has no finite score for; they cannot be listed with one."""
    rows = (~usable).nonzero().flatten().tolist()
    reasons = {n: f"the detector gives {what} no finite score ({float(scores[n])})" for n in rows}
    if rows and how.on_bad == "error":
        name = printable(names[rows[0]])
        raise UserError(f"{name} cannot be explained ({reasons[rows[0]]}); leave it out.")
    return [SkippedImage(names[n], reasons[n]) for n in rows]


def _places(files: Sequence[Path], rows: range, names: Sequence[str]) -> list[int]:
    """Where in the list of files each of the images that could be read is."""
    places, left = [], iter(rows)
    for name in names:
        places.append(next(row for row in left if Path(files[row]).as_posix() == name))
    return places


def _rows(files: Sequence[Path], number: int) -> range:
    return range(number * PART_SIZE, min((number + 1) * PART_SIZE, len(files)))


def _head(explainer: Explainer, how: Streaming, independent: IndependentDetectors | None) -> Head:
    detector = explainer.detector
    return Head(
        concepts=explainer.concepts,
        shape=detector.shape,
        own_threshold=detector.own_threshold,
        calibrated_threshold=detector.threshold,
        higher_is=detector.higher_is,
        traversal_targets=torch.linspace(1, 0, how.traversal_steps).tolist(),
        detector=dict(detector.facts),
        facts={
            **explainer.facts,
            "options": _options(how),
            **how.facts,
            "versions": versions(),
        },
        second_opinion=independent.facts if independent else (),
        normal_accepted_by=independent.normal_accepted_by if independent else (),
    )


def _job(
    explainer: Explainer,
    files: Sequence[Path],
    how: Streaming,
    independent: IndependentDetectors | None,
) -> Job:
    asked = {"second_opinion": independent.fingerprint} if independent else {}
    return Job(
        options=_options(how),
        files=digest_files(files),
        explainer=digest(explainer.tensors()),
        detector=detector_fingerprint(explainer.detector),
        probe=probe_scores(explainer.detector),
        facts={**how.facts, **asked},
    )


def _options(how: Streaming) -> dict[str, Any]:
    """The options that decide how an explanation turns out, whoever does which part of it."""
    names = ("which", "min_score", "on_bad", "traversals", "traversal_steps")
    return {name: getattr(how, name) for name in names}


def _require_consistent(how: Streaming) -> None:
    if how.of < 1 or not 0 <= how.index < how.of:
        raise UserError(
            f"--index {how.index} --of {how.of} names no shard; the index goes from 0 to one less "
            "than the number of shards."
        )
    if how.fresh and how.of > 1:
        raise UserError(
            "--fresh would take away what other shards have done; leave it out, or name a new "
            "folder with --out."
        )
    if how.which == "all" and how.min_score is not None:
        raise UserError("--all explains every image; leave out --min-score, or --all.")
