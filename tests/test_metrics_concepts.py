import pytest
import torch
from torch import Generator, tensor

from ifnormal.evaluation.concepts import concept_accuracy, fresh_concept_accuracy
from ifnormal.evaluation.small_classifier import SmallClassifier


def test_concept_accuracy_counts_pairs_named_rightly():
    right, wrong = [[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.2, 0.8]]
    assert concept_accuracy(tensor([right, wrong])) == 75


@pytest.mark.parametrize("concepts", [1, 3])
def test_certain_classifiers_have_100(concepts):
    assert concept_accuracy(torch.eye(concepts).repeat(4, 1, 1)) == 100


@pytest.mark.parametrize("shape", [(2, 3, 2), (0, 2, 2), (2, 2)])
def test_concept_accuracy_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="expected"):
        concept_accuracy(torch.zeros(shape))


def edited(count=40):
    anomalies = torch.randint(80, 160, (count, 3, 16, 16), generator=Generator().manual_seed(0))
    brighter, darker = anomalies + 60, anomalies - 60
    return anomalies.to(torch.uint8), torch.stack([brighter, darker], 1).to(torch.uint8)


def test_a_fresh_classifier_learns_concepts_that_differ():
    anomalies, counterfactuals = edited()
    assert fresh_concept_accuracy(anomalies, counterfactuals, seed=0, steps=40) == 100


def test_a_fresh_classifier_guesses_where_concepts_are_the_same():
    anomalies, counterfactuals = edited()
    same = counterfactuals[:, :1].expand_as(counterfactuals)
    assert fresh_concept_accuracy(anomalies, same, seed=0, steps=10) == 50


def test_the_seed_decides_and_the_global_one_is_left_alone():
    anomalies, counterfactuals = edited(12)
    counterfactuals = counterfactuals.roll(1, 0)
    before = torch.get_rng_state()
    first, second = (fresh_concept_accuracy(anomalies, counterfactuals, 3, 4) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_fresh_accuracy_needs_two_anomalies():
    anomalies, counterfactuals = edited(1)
    with pytest.raises(ValueError, match="N > 1"):
        fresh_concept_accuracy(anomalies, counterfactuals, 0)


def test_one_concept_cannot_be_mistaken():
    anomalies, counterfactuals = edited(4)
    assert fresh_concept_accuracy(anomalies, counterfactuals[:, :1], 0) == 100


def test_large_images_are_told_apart_at_64_pixels():
    anomalies = torch.full((8, 1, 96, 96), 100, dtype=torch.uint8)
    counterfactuals = torch.stack([anomalies + 80, anomalies - 80], 1)
    assert fresh_concept_accuracy(anomalies, counterfactuals, 0, steps=20) == 100
    small = SmallClassifier(1, 2).eval()
    images = torch.rand(2, 1, 128, 128)
    with torch.inference_mode():
        assert torch.allclose(
            small(images), small(torch.nn.functional.avg_pool2d(images, 2)), atol=1e-6
        )
