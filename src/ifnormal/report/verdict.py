"""The verdict: sentences that say what the figures of a run mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ifnormal.report.contamination import contamination_sentences
from ifnormal.report.figures import mean
from ifnormal.report.outlier_quality import outlier_quality_sentences
from ifnormal.report.reading import Run
from ifnormal.report.second_opinion import HALF, Acceptance, acceptance_of, all_of
from ifnormal.report.surrogate import surrogate_sentences
from ifnormal.report.trained_detector import trained_sentences
from ifnormal.report.wording import concept_name, counted, joined, percent

# From `MOST` on a finding holds for the images in general; below `HALF` it does not hold.
MOST = 0.8
# If the judge accepts fewer counterfactuals than the detector by this share of all, many satisfy
# the detector without being normal. It is well above the judge's own error.
JUDGE_GAP = 0.15
# AuROC in %; a detector below it often errs.
POOR_DETECTOR = 90.0


@dataclass(frozen=True)
class Headline:
    """A figure in large type."""

    title: str
    figure: str


@dataclass(frozen=True)
class Verdict:
    """Paragraphs, the answer first, and the figures behind them."""

    paragraphs: list[str]
    headlines: list[Headline]


def make_verdict(run: Run) -> Verdict:
    """The verdict from the metrics, or from counts where there is no metric."""
    accepted, normal, others = accepted_share(run), normal_share(run), acceptance(run)
    reasons, minimal = _share(run, "two_reasons"), _share(run, "two_ways")
    # One concept cannot show two reasons; that is no failure of it.
    several = run.explanation.head.concepts > 1
    distinct = _share(run, "distinct_normals") if several else None
    second = _share(run, "second_detector_agrees")
    answer = [
        *(_reasons(reasons, minimal) if several else []),
        *_classes(distinct),
    ]
    agreement = _agreement(accepted, normal, second, others)
    headlines = []
    counts = run.explanation.counts
    if counts.explained < counts.images:
        answer = [*_flagged(run), *answer]
    # What the reader must not miss comes first.
    answer = [*agreement, *answer] if others and others.is_doubtful else [*answer, *agreement]
    if not run.metrics:
        found = f"{counts.flagged:,} of {counts.images:,}"
        headlines.append(Headline("images are flagged", found))
    if accepted is not None:
        says = "of the edits are accepted by the detector"
        headlines.append(Headline(says, percent(accepted)))
    if others is not None:
        says = f"are accepted by {all_of(others.detectors)}"
        headlines.append(Headline(says, percent(others.accepted)))
    if normal is not None:
        headlines.append(Headline("are normal to a judge who never met it", percent(normal)))
    if minimal is not None and several:
        headlines.append(Headline("of the anomalies have two minimal ways", percent(minimal)))
    auroc = mean(run.metrics.get("normality_auroc"))
    if auroc is not None:
        each = run.metrics.get("normality_auroc_per_concept") or []
        apart = joined(
            [f"{concept_name(k, run.explanation.prompts)} {v:.0f}" for k, v in enumerate(each)]
        )
        says = "AuROC of normal images against edits; 50 is ideal"
        headlines.append(Headline(f"{says} ({apart})" if len(each) > 1 else says, f"{auroc:.1f} %"))
    paragraphs = [" ".join(answer), " ".join(_setting(run))]
    facts = run.explanation.head.facts
    for said in (
        trained_sentences(facts),
        surrogate_sentences(facts),
        contamination_sentences(facts.get("contamination", {})),
        outlier_quality_sentences(facts),
    ):
        if said:
            paragraphs.append(" ".join(said))
    return Verdict(paragraphs, headlines)


def accepted_share(run: Run) -> float | None:
    """The share of counterfactuals that the detector accepts; None where there are none."""
    share = _share(run, "validity")
    return run.explanation.accepted if share is None else share


def acceptance(run: Run) -> Acceptance | None:
    """What independent detectors accept, of all that was measured; None if none was asked."""
    counted_here = acceptance_of(run.explanation.head, run.explanation.opinions)
    accepted, both = _share(run, "accepted_by_all"), _share(run, "valid_and_accepted")
    valid = accepted_share(run)
    if counted_here is None or accepted is None or both is None or valid is None:
        return counted_here
    return replace(counted_here, valid=valid, accepted=accepted, valid_and_accepted=both)


def normal_share(run: Run) -> float | None:
    """The share of counterfactuals that the judge calls normal; None without a judge."""
    share = _share(run, "truly_normal")
    return run.explanation.truth.normal_share if share is None else share


def _share(run: Run, key: str) -> float | None:
    value = mean(run.metrics.get(key))
    return None if value is None else value / 100


def _reasons(reasons: float | None, minimal: float | None) -> list[str]:
    if reasons is None:
        return []
    said = percent(reasons)
    if reasons >= MOST:
        found = f"The detector flags these images for two separable reasons: for {said} of the "
        found += "anomalies the explainer found one edit for each."
    elif reasons >= HALF:
        found = f"The detector’s two reasons were told apart for {said} of the anomalies; for the "
        found += "others the explainer found one at most."
    else:
        found = "The explainer did not tell two reasons apart: its edits show two different ways "
        found += f"to be normal for only {said} of the anomalies."
    if minimal is None:
        return [found]
    if minimal >= MOST:
        kept = f"For {percent(minimal)} both edits also keep everything else as it was."
    elif minimal >= HALF:
        kept = f"Both edits keep everything else as it was for {percent(minimal)}."
    else:
        start = "But both edits" if reasons >= HALF else "Both edits also"
        kept = f"{start} keep everything else as it was for only {percent(minimal)}."
    return [found, kept]


def _flagged(run: Run) -> list[str]:
    images, flagged = run.explanation.counts.images, run.explanation.counts.flagged
    if images == 1:
        return [f"The image is {'' if flagged else 'not '}flagged."]
    if flagged == 0:
        return [f"None of the {counted(images)} images is flagged."]
    many = counted(flagged).capitalize()
    return [f"{many} of the {counted(images)} images {'is' if flagged == 1 else 'are'} flagged."]


def _classes(distinct: float | None) -> list[str]:
    if distinct is None:
        return []
    only = "" if distinct >= HALF else "only "
    return [
        f"For {only}{percent(distinct)} of the anomalies the edits show different normal classes."
    ]


def _agreement(
    accepted: float | None,
    normal: float | None,
    second: float | None,
    others: Acceptance | None,
) -> list[str]:
    if others is not None:
        said = [others.sentence, *others.cautions]
        if normal is not None:
            only = "" if normal >= HALF else "only "
            said.append(f"An independent judge calls {only}{percent(normal)} normal.")
        return said
    if accepted is None:
        return []
    only = "" if accepted >= HALF else "only "
    first = f"The detector accepts {only}{percent(accepted)} of the counterfactuals"
    if normal is None:
        also = ""
        if second is not None:
            only = "" if second >= HALF else "only "
            also = f", and a second one, trained differently, {only}{percent(second)}"
        return [f"{first}{also}; no independent judge has looked at them."]
    if accepted - normal > JUDGE_GAP:
        return [
            f"{first}, but an independent judge calls only {percent(normal)} normal: many satisfy "
            "the detector without being normal."
        ]
    only = "" if normal >= HALF else "only "
    return [f"{first}; an independent judge calls {only}{percent(normal)} normal."]


def _setting(run: Run) -> list[str]:
    shown, k = run.explanation.counts.explained, run.explanation.head.concepts
    measured = run.metrics.get("anomalies")  # a sweep keeps only the first as pictures
    n = measured if isinstance(measured, int) and measured > shown else shown
    setup = run.config.get("setup")
    normal = setup.get("normal") if isinstance(setup, dict) else None
    sentences = [f"Normal here is {normal}."] if isinstance(normal, str) and normal else []
    sentences.append(
        f"{counted(n)} {'anomaly was' if n == 1 else 'anomalies were'} explained".capitalize()
        + (f", each with {counted(k)} counterfactuals" if k > 1 and n else "")
        + (f"; all are measured, and the first {shown} are shown." if n > shown else ".")
    )
    auroc = mean(run.metrics.get("detector_auroc"))
    if auroc is not None:
        sentences.append(
            f"The detector tells normal from anomalous test images with an AuROC of {auroc:.1f} %"
            + ("." if auroc >= POOR_DETECTOR else ": what it calls normal often is not.")
        )
    return sentences
