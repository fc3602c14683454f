"""AttributeJudge: names what an image shows, and says "junk" where it shows nothing.

It is trained on the true attributes, independently of detector and generator, and neither ever
sees it. So it can tell what the detector's score cannot: whether a counterfactual really is normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.evaluation.judge.images import JUNK
from ifnormal.evaluation.judge.network import JudgeNetwork

FORMAT_VERSION = 2
BATCH = 512


@dataclass(frozen=True)
class AttributeJudge:
    """A trained judge. Images come in as (..., C, H, W) uint8, with any leading shape.

    Attributes:
        network: the weights, in evaluation mode.
        shape: (C, H, W) it was trained for.
        names: attribute -> what its values mean, junk not among them.
        label: what it knows, "digit-color" or "cifar10"; by default its attributes.
        confidence: an answer less certain than this counts as junk.
        facts: how it was trained; JSON-compatible.
    """

    network: JudgeNetwork
    shape: tuple[int, int, int]
    names: Mapping[str, tuple[str, ...]]
    label: str = ""
    confidence: float = 0.5
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def extractor(self) -> str:
        """The name of every figure's features, where they are this judge's: "cifar10-judge"."""
        return f"{self.label or '-'.join(self.names)}-judge"

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (...) int64 values, or `JUNK` (-1)."""
        answers: dict[str, list[Tensor]] = {name: [] for name in self.names}

        def collect(batch: Tensor) -> Tensor:
            for name, logits in self.network(batch).items():
                certainty, value = logits.softmax(1).max(1)
                junk = (value == len(self.names[name])) | (certainty < self.confidence)
                answers[name].append(value.masked_fill(junk, JUNK).cpu())
            return batch.new_empty(len(batch), 0)

        self._run(collect, images)
        return {name: torch.cat(parts).view(images.shape[:-3]) for name, parts in answers.items()}

    def features(self, images: Tensor) -> Tensor:
        """(N, 128) float32 penultimate features; the leading shape is flattened to N."""
        return self._run(self.network.features, images)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Stage outputs of one batch, for a perceptual distance; the leading shape is flattened."""
        self._check(images)
        with torch.inference_mode():
            return self.network.maps(self._float(images.flatten(0, -4)))

    def _check(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3:] != self.shape:
            raise ValueError(
                f"the judge reads (..., {self.shape}) uint8, got {images.shape} {images.dtype}"
            )

    def _float(self, images: Tensor) -> Tensor:
        return images.to(next(self.network.parameters()).device).float() / 255

    def _run(self, call: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        self._check(images)
        flat = images.reshape(prod(images.shape[:-3]), *self.shape)
        with torch.inference_mode():
            starts = range(0, max(len(flat), 1), BATCH)
            return torch.cat([call(self._float(flat[i : i + BATCH])).cpu() for i in starts])

    def save(self, folder: Path) -> None:
        """Write `judge.json` and its safetensors."""
        facts = {
            "format": "ifnormal.judge",
            "version": FORMAT_VERSION,
            "shape": self.shape,
            "names": self.names,
            "label": self.label,
            "confidence": self.confidence,
            "width": self.network.width,
            "pictures": self.network.pictures,
            "facts": self.facts,
        }
        save_tensors(Path(folder), "judge", self.network.state_dict(), facts)

    @classmethod
    def load(cls, folder: Path) -> AttributeJudge:
        """Read what `save` wrote; also version 1, which knew drawings only.

        Raises:
            UserError: a file is missing, damaged, or of another version.
        """
        tensors, facts = load_tensors(Path(folder), "judge")
        version = facts.get("version")
        if facts.get("format") != "ifnormal.judge" or version not in (1, FORMAT_VERSION):
            raise UserError(
                f"{folder}/judge.json is not a judge of format {FORMAT_VERSION}; train it again."
            )
        names = {name: tuple(values) for name, values in facts["names"].items()}
        shape = (facts["shape"][0], facts["shape"][1], facts["shape"][2])
        answers = {name: len(values) + 1 for name, values in names.items()}
        pictures = facts.get("pictures", "drawings")
        network = JudgeNetwork(shape, answers, facts["width"], pictures)
        network.load_state_dict(tensors)
        return cls(
            network=network.eval(),
            shape=shape,
            names=names,
            label=facts.get("label", ""),
            confidence=facts["confidence"],
            facts=facts["facts"],
        )


def judge_accuracy(
    judge: AttributeJudge, images: Tensor, attributes: Mapping[str, Tensor]
) -> dict[str, float]:
    """Share of right answers in %, [0, 100], for each attribute; junk is never right.

    Args:
        judge: the judge.
        images: (N, C, H, W) uint8, N at least 1.
        attributes: attribute -> (N,) true values.
    """
    if len(images) == 0:
        raise ValueError("judge_accuracy needs at least one image")
    predicted = judge.predict(images)
    return {
        name: 100 * (predicted[name] == attributes[name].cpu()).double().mean().item()
        for name in judge.names
    }
