"""What several test files share: fixed seeds, a modest Hypothesis and small explanations."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import settings

from ifnormal.explanation.explanation import Explanation

pytest_plugins = ["chromium", "explanation_streams", "report_pages"]  # for their fixtures

settings.register_profile("ifnormal", deadline=None, max_examples=50)
settings.load_profile("ifnormal")


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


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
