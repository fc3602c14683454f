"""The HTML of an image and its edits. Pictures are data URIs, so no file has to be served."""

from __future__ import annotations

import html
from base64 import b64encode
from io import BytesIO

from PIL import Image
from torch import Tensor

from ifnormal.app.what_if import Scored, Units
from ifnormal.common.pixels import png_bytes
from ifnormal.report.colour_change import difference
from ifnormal.report.wording import concept_name

# Images up to this side are enlarged without smoothing, so that their pixels can be seen.
_PIXELATED_SIDE = 48
NOTHING_YET = '<p class="hint">Drop an image in, and its score appears here.</p>'
_LEGEND = (
    '<p class="hint">Changed: <span class="brighter">brighter</span> '
    '<span class="darker">darker</span> <span class="recoloured">recoloured</span></p>'
)


def comparison(before: Scored, after: Scored, units: Units, target: float, concept: int) -> str:
    """The image, its edit and the difference, side by side."""
    name = concept_name(concept)
    label = f"If it scored {target:.2f}, concept {name}"
    file_name = f"counterfactual-{name}-{target:.2f}.png"
    parts = [
        _figure("original", "Your image", before.image, _verdict(before, units)),
        _figure("edited", label, after.image, _verdict(after, units), file_name),
        _figure("changed", "What changed", _changed(before.image, after.image), _LEGEND),
    ]
    return f'<div class="row">{"".join(parts)}</div>{_how_to_read(units)}'


def all_concepts(before: Scored, edits: list[Scored], units: Units) -> str:
    """The counterfactual of every concept, at α = 0."""
    parts = [
        _figure(
            f"concept-{k}",
            f"If normal, concept {concept_name(k)}",
            after.image,
            _verdict(after, units),
            f"counterfactual-{concept_name(k)}-0.00.png",
        )
        for k, after in enumerate(edits)
    ]
    accepted = sum(not edit.flagged for edit in edits)
    says = f"The detector accepts {accepted} of {len(edits)}."
    if not before.flagged:
        says += " It does not flag your image either, so there is little to explain."
    head = f'<h3>If normal, by all concepts</h3><p class="hint">{says}</p>'
    return f'{head}<div class="row small">{"".join(parts)}</div>'


def complaint(sentence: str) -> str:
    """An error message of one sentence."""
    return f'<p role="alert" class="complaint">{html.escape(" ".join(sentence.split()))}</p>'


def number(value: float) -> str:
    """A score in any units, with four digits."""
    return f"{value:.4g}"


def _verdict(scored: Scored, units: Units) -> str:
    word, kind = ("flagged", "flagged") if scored.flagged else ("accepted", "accepted")
    calibrated = ""
    if abs(scored.score - scored.own_score) > 1e-6:
        calibrated = f' <span class="hint">({scored.score:.2f} of 1)</span>'
    return (
        f'<p class="verdict {kind}">score <b class="score">{number(scored.own_score)}</b>'
        f"{calibrated}: {word}</p>"
    )


def _how_to_read(units: Units) -> str:
    side = "above" if units.higher_is == "anomalous" else "below"
    return (
        f'<p class="hint">The detector flags what scores {side} '
        f'<b class="threshold">{number(units.threshold)}</b>.</p>'
    )


def _changed(before: Tensor, after: Tensor) -> bytes:
    """The difference as a PNG; the opacity of a pixel is how much it changed."""
    old, new = (image.expand(3, -1, -1).permute(1, 2, 0).numpy() for image in (before, after))
    buffer = BytesIO()
    Image.fromarray(difference(old, new)).save(buffer, "PNG")
    return buffer.getvalue()


def _figure(
    name: str, label: str, image: Tensor | bytes, below: str, file_name: str | None = None
) -> str:
    """One picture with its label above and text below, and a link that saves it."""
    png = image if isinstance(image, bytes) else png_bytes(image)
    source = "data:image/png;base64," + b64encode(png).decode()
    if file_name is not None:
        below += f'<p><a class="download" download="{file_name}" href="{source}">Download</a></p>'
    with Image.open(BytesIO(png)) as opened:
        sharp = " pixelated" if max(opened.size) <= _PIXELATED_SIDE else ""
    return (
        f'<figure class="{name}"><figcaption>{label}</figcaption>'
        f'<img class="picture{sharp}" src="{source}" alt="{label}">{below}</figure>'
    )
