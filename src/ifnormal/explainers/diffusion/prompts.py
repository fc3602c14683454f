"""Prompts: what each concept is asked for, and what there is in an anomaly.

A backbone of `ifnormal train-backbone` knows words for both: the names of the normal classes, one
for all of them, and one for everything else. Of other backbones the user has to say them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from ifnormal.common.errors import UserError
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.training_material import UNKNOWN


def class_names(backbone: LatentBackbone) -> list[str]:
    """The normal classes that a backbone was told apart, if any."""
    others = ("", UNKNOWN, backbone.facts.get("normal"))
    return [str(word) for word in backbone.facts.get("prompts", ()) if word not in others]


def source_of(given: str | None, backbone: LatentBackbone) -> str:
    """What anomalies are called: as given, or the backbone's word for what is not normal, or ""."""
    if given is not None:
        return given
    return UNKNOWN if UNKNOWN in backbone.facts.get("prompts", ()) else ""


def prompts_of(
    wanted: int, given: Sequence[str], backbone: LatentBackbone, several: bool
) -> list[str]:
    """As many prompts as are wanted.

    Args:
        wanted: one for each concept, or one for all of them.
        given: by the user; without any, the names of the normal classes serve, as far as they go,
            or the one word for what is normal.
        backbone: may know them.
        several: whether each concept may have a prompt of its own.

    Raises:
        UserError: there are none, or not as many as concepts.
    """
    named = backbone.facts.get("normal")
    own = class_names(backbone) if wanted > 1 else []
    words = list(given) or own or ([str(named)] if named else [])
    if not words:
        raise UserError(
            "The backbone has no word for what is normal; name it with --prompt, such as "
            '--prompt "zebra".'
        )
    if given and not several and len(given) > 1:
        raise UserError("Only the method inversion has a prompt for each concept; give one.")
    if len(given) not in (0, 1, wanted):
        raise UserError(
            f"There are {len(given)} prompts for {wanted} concepts; give one prompt, or one for "
            "each concept."
        )
    return list(islice(cycle(words), wanted))


def most_accepted(names: Sequence[str], accepted: Sequence[float], count: int) -> list[str]:
    """So many of the names, those whose edits are accepted most often, in the order they had."""
    best = sorted(range(len(names)), key=lambda n: -accepted[n])[:count]
    return [names[n] for n in sorted(best)]
