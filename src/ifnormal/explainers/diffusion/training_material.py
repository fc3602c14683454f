"""What a backbone learns from: images and their prompts; never an anomaly that is tested with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.data.files.image_input import as_images
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.fingerprint import digest

UNKNOWN = "something else"


@dataclass(frozen=True)
class TrainingMaterial:
    """Images with what they show, in words.

    Attributes:
        images: (N, C, H, W) uint8.
        prompts: all prompts there are; the first is "".
        prompt_of: (N, P) int64, P prompts of each image; each serves in turn.
        normal: the prompt of all normal images together.
    """

    images: Tensor
    prompts: tuple[str, ...]
    prompt_of: Tensor
    normal: str

    def facts(self) -> dict[str, object]:
        """What tells it from other material; JSON-compatible."""
        return {
            "images": digest({"images": self.images, "prompts": self.prompt_of}),
            "prompts": list(self.prompts),
        }


def material_of(setup: AnomalySetup, prompt: str | None = None) -> TrainingMaterial:
    """A setup's normal images and outlier exposure, with class names as prompts where it has some.

    Args:
        setup: its labelled training images serve as far as their classes are normal.
        prompt: of normal images; by default the setup's words for what is normal.
    """
    normal = prompt or setup.normal
    images, names = [setup.train_normal], [[normal, normal]] * len(setup.train_normal)
    named = _named_normal(setup)
    if named is not None:
        shown, words = named
        images, names = [shown], [[word, normal] for word in words]
    images.append(setup.outliers)
    names += [[UNKNOWN, UNKNOWN]] * len(setup.outliers)
    prompts = ("", *dict.fromkeys(word for row in names for word in row))
    number = {word: n for n, word in enumerate(prompts)}
    prompt_of = torch.tensor([[number[word] for word in row] for row in names])
    return TrainingMaterial(torch.cat(images), prompts, prompt_of, normal)


def material_of_folders(
    normal: Path, outliers: Path | None, prompt: str, size: int
) -> TrainingMaterial:
    """The images of one folder under a prompt, those of another as something else.

    Args:
        normal: folder of normal images.
        outliers: folder of images of other things; None leaves them out.
        prompt: what normal images are called.
        size: sides that all images are brought to.

    Raises:
        UserError: there are no images in a folder.
    """
    shape = (3, size, size)
    images, prompts = [as_images(normal, shape)[0]], ["", prompt]
    if outliers is not None:
        images.append(as_images(outliers, shape)[0])
        prompts.append(UNKNOWN)
    kinds = torch.cat([torch.full((len(part), 1), n + 1) for n, part in enumerate(images)])
    return TrainingMaterial(torch.cat(images), tuple(prompts), kinds, prompt)


def _named_normal(setup: AnomalySetup) -> tuple[Tensor, list[str]] | None:
    """Normal training images with the name of the class of each, where one attribute says it."""
    if setup.judge_images is None or len(setup.normal_attributes) != 1:
        return None
    attribute, values = next(iter(setup.normal_attributes.items()))
    labels = setup.judge_attributes[attribute]
    is_normal = torch.isin(labels, torch.tensor(values))
    if len(values) < 2 or not bool(is_normal.any()):
        return None
    words = setup.attribute_names[attribute]
    return setup.judge_images[is_normal], [words[int(n)] for n in labels[is_normal]]
