"""What several test files share: fixed seeds, a modest Hypothesis and small explanations."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import settings
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from ifnormal.config import DetectorConfig, Objective
from ifnormal.explanation.explanation import Explanation

pytest_plugins = [
    "chromium",
    "explanation_streams",
    "report_pages",
    "tiny_backbones",
]  # for their fixtures

settings.register_profile("ifnormal", deadline=None, max_examples=50)
settings.load_profile("ifnormal")


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


class Compiled(BytecodeCache):
    """Templates in memory: a report compiles its own anew, which takes as long as the rest."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.known[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def _templates_are_compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        once = partial(Environment, bytecode_cache=Compiled())
        patch.setattr("ifnormal.report.page.Environment", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _second_opinions_are_cheap() -> Iterator[None]:
    """Their network sees images of 32 pixels, which takes a fiftieth of the time."""

    def quick(kind: Objective, shape: tuple[int, int, int]) -> DetectorConfig:
        return DetectorConfig(objective=kind, features_side=32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ifnormal.jobs.second_opinion.config_for", quick)
        yield


@pytest.fixture(scope="module")
def few_synthetic() -> Iterator[None]:
    """Hundreds of synthetic outliers instead of thousands, from here to the end of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ifnormal.explainers.fit_data._LEAST_SYNTHETIC", 400)
        patch.setattr("ifnormal.explainers.fit_data._LEAST_FLAGGED", 4)
        patch.setattr("ifnormal.explainers.outlier_quality._REPORTED", 20)
        yield


@pytest.fixture
def make_explanation() -> Callable[..., Explanation]:
    """A maker of explanations with random pixels and scores, of any numbers and channels."""

    def make(
        n: int = 3, k: int = 2, m: int = 1, t: int = 4, channels: int = 3, size: int = 8
    ) -> Explanation:
        image = (channels, size, size + 1)
        return Explanation(
            anomalies=torch.randint(0, 256, (n, *image), dtype=torch.uint8),
            counterfactuals=torch.randint(0, 256, (n, k, *image), dtype=torch.uint8),
            calibrated_scores_before=torch.rand(n) / 2 + 0.5,
            calibrated_scores_after=torch.rand(n, k),
            concept_probabilities=torch.rand(n, k, k).softmax(dim=-1),
            calibrated_threshold=0.5,
            traversal_targets=torch.linspace(1, 0, t),
            traversals=torch.randint(0, 256, (m, k, t, *image), dtype=torch.uint8),
            calibrated_traversal_scores=torch.rand(m, k, t),
            names=tuple(f"anomaly {i}" for i in range(n)),
            facts={"seed": 0, "detector": {"objective": "bce"}},
        )

    return make


@pytest.fixture
def tiny_explanation(make_explanation: Callable[..., Explanation]) -> Explanation:
    """Three anomalies, two concepts, one traversal of four steps, 8 by 9 pixels in colour."""
    return make_explanation()
