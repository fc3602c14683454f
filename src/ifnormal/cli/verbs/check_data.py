"""ifnormal check-data: which images can be read, and what sizes and formats they have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import Options, Verb
from ifnormal.common.errors import UserError, printable

if TYPE_CHECKING:
    from ifnormal.data.files.survey import Survey

_MODES = {
    "1": "1-bit",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "RGBA": "RGB with alpha",
    "I": "16-bit grey",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
}
_SHOWN = 5


def _check_data(options: Options) -> None:
    from ifnormal.common.progress import Progress
    from ifnormal.common.storage import write_json
    from ifnormal.data.files.finding import find_images
    from ifnormal.data.files.survey import survey

    size = None if options["size"] is None else _sides(options["size"])
    files = find_images(options["images"])
    with Progress("Checking", len(files)) as progress:
        found = survey(files, lambda done, bad: progress.report(done, {"bad": bad}))
    _show(found, size)
    facts = found.to_json(size)
    if options["contamination"] and found.good:
        facts["contamination"] = _contamination(files)
    if options["json"] is not None:
        print(f"JSON: {printable(str(write_json(options['json'], facts)))}")
    if found.bad and (options["on_bad_image"] == "error" or not found.good):
        first = found.bad[0]
        raise UserError(
            f"{len(found.bad)} of {len(files)} images cannot be read, the first is "
            f"{printable(first.path)} ({first.reason}); restore them or leave them out."
        )


def _contamination(files: list[Path]) -> dict[str, Any]:
    """Estimate and print how many images do not look normal."""
    from ifnormal.common.progress import Progress
    from ifnormal.jobs.contamination import STEPS, look_for_suspects
    from ifnormal.report.contamination import contamination_sentences, suspects_of

    with Progress("Fitting small detectors", STEPS) as progress:
        facts = look_for_suspects(files, lambda done: progress.report(done, {}))
    print(*contamination_sentences(facts))
    for suspect in suspects_of(facts):
        print(f"  {printable(suspect.name)}: anomalous with a probability of {suspect.probability}")
    for suspect in facts["suspects"]:
        suspect.pop("picture", None)
    return facts


def _sides(text: str) -> tuple[int, int]:
    """(height, width) of `128` or `[128,96]`."""
    found = re.fullmatch(r"(\d+)|\[ *(\d+) *, *(\d+) *\]", text)
    sides = (int(found[1] or found[2]), int(found[1] or found[3])) if found else (0, 0)
    if min(sides) < 1:
        raise UserError(f"--size takes a number of pixels or [HEIGHT,WIDTH], not {text!r}.")
    return sides


def _show(found: Survey, size: tuple[int, int] | None) -> None:
    total = found.good + len(found.bad)
    print(f"{found.good} of {_count(total, 'image')} can be read.")
    for bad in found.bad:
        print(f"  {printable(bad.path)}: {bad.reason}")
    if not found.good:
        return
    modes: dict[str, int] = {}
    for mode, images in found.modes.items():
        name = _MODES.get(mode, mode)
        modes[name] = modes.get(name, 0) + images
    sizes = {f"{height} x {width}": images for (height, width), images in found.sizes.items()}
    print(f"Formats: {_most(found.formats)}")
    print(f"Pixels: {_most(modes)}")
    print(f"Heights x widths: {_most(sizes)}{_range(found)}")
    if size is not None:
        scaling = found.scaling(size)
        stretched = scaling.pop("stretched")
        parts = ", ".join(f"{images} {what}" for what, images in scaling.items())
        print(
            f"Brought to {size[0]} x {size[1]}: {parts}; {stretched} of them change their "
            "proportions by more than a tenth"
        )
    for group in found.same[:_SHOWN]:
        print(f"The same bytes: {', '.join(map(printable, group[:_SHOWN]))}{_more(group)}")
    if len(found.same) > _SHOWN:
        print(f"The same bytes: {len(found.same) - _SHOWN} more groups")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _most(counts: dict[str, int] | Options) -> str:
    """The most frequent, and how many others there are."""
    shown = ", ".join(f"{name} ({images})" for name, images in list(counts.items())[:_SHOWN])
    rest = list(counts.values())[_SHOWN:]
    return f"{shown}, {len(rest)} more ({sum(rest)})" if rest else shown


def _range(found: Survey) -> str:
    if len(found.sizes) <= _SHOWN:
        return ""
    heights, widths = zip(*found.sizes, strict=True)
    return f"; from {min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide"


def _more(group: tuple[str, ...]) -> str:
    return f" and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folders of images, and image files",
    )
    parser.add_argument(
        "--size",
        type=str,
        metavar="SIZE",
        help="also count the images that would be scaled to sides of this many pixels, or to "
        "[HEIGHT,WIDTH]",
    )
    parser.add_argument(
        "--contamination",
        action="store_true",
        help="also estimate how many images of a folder of normal images are not normal, and list "
        "the suspects, by two small detectors that are fitted to the others; takes about 0.1 "
        "seconds an image",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="also write all findings to this file, as JSON",
    )
    parser.add_argument(
        "--on_bad_image",
        type=Literal["skip", "error"],
        default="skip",
        help="skip lists bad images and ends with exit code 0 if at least one is good; error "
        "ends with exit code 2 if any is bad, after listing them",
    )


VERB = Verb(
    _check_data,
    _add_options,
    "FOLDER [FOLDER ...] [--size SIZE] [--contamination] [--json FILE] [--on-bad-image skip|error]",
    "check which images can be read, and list their formats and sizes",
)
