import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from ifnormal.evaluation.truth import normal_share, truth

ONE, CYAN, JUNK = 1, 5, -1
RED, BLUE = 0, 2
NORMAL = {"digit": (ONE,), "color": (CYAN,)}


def ask(*counterfactuals, digit=3, color=RED):
    """Truth of one anomaly, a red three, whose counterfactuals show these (digit, colour)."""
    digits, colors = zip(*counterfactuals, strict=True)
    predicted = {"digit": tensor([digits]), "color": tensor([colors])}
    return truth(predicted, {"digit": tensor([digit]), "color": tensor([color])}, NORMAL)


@pytest.mark.parametrize(
    ("shown", "normal", "minimal"),
    [
        ((ONE, RED), True, True),
        ((3, CYAN), True, True),
        ((ONE, CYAN), True, False),  # both changed, one would have done
        ((ONE, BLUE), True, False),
        ((7, CYAN), True, False),
        ((3, RED), False, False),  # nothing changed
        ((7, RED), False, True),  # one change, though not to normal
        ((7, BLUE), False, False),
        ((JUNK, CYAN), False, False),
        ((ONE, JUNK), False, False),
        ((JUNK, RED), False, False),
        ((3, JUNK), False, False),
        ((JUNK, JUNK), False, False),
    ],
)
def test_one_counterfactual(shown, normal, minimal):
    result = ask(shown)
    assert result.is_normal.tolist() == [[normal]]
    assert result.is_minimal.tolist() == [[minimal]]
    assert result.truly_normal == [100.0 * normal]
    assert result.minimal_edit == [100.0 * minimal]


@pytest.mark.parametrize(
    ("shown", "reasons", "ways"),
    [
        ([(ONE, RED), (3, CYAN)], True, True),
        ([(3, CYAN), (ONE, RED)], True, True),
        ([(ONE, BLUE), (7, CYAN)], True, False),
        ([(ONE, RED), (ONE, CYAN)], True, False),
        ([(3, CYAN), (ONE, CYAN)], False, False),  # both are cyan, neither a one by digit alone
        ([(3, CYAN), (7, CYAN)], False, False),
        ([(ONE, RED), (ONE, BLUE)], False, False),
        ([(ONE, JUNK), (3, CYAN)], False, False),
        ([(ONE, RED), (JUNK, CYAN)], False, False),
        ([(ONE, CYAN)], False, False),  # K = 1: never two
        ([(ONE, RED)], False, False),
        ([(JUNK, JUNK), (ONE, RED), (3, CYAN)], True, True),  # K = 3
        ([(ONE, CYAN), (ONE, BLUE), (7, CYAN)], True, False),
        ([(ONE, CYAN), (ONE, CYAN), (7, CYAN)], False, False),
    ],
)
def test_two_reasons_and_two_ways(shown, reasons, ways):
    result = ask(*shown)
    assert result.two_reasons == 100.0 * reasons
    assert result.two_ways == 100.0 * ways


def test_shares_over_anomalies_and_concepts():
    predicted = {
        "digit": tensor([[ONE, 3], [ONE, 7], [JUNK, 4], [ONE, 9]]),
        "color": tensor([[RED, CYAN], [BLUE, CYAN], [RED, CYAN], [CYAN, RED]]),
    }
    true = {"digit": tensor([3, 3, 4, 9]), "color": tensor([RED, RED, RED, BLUE])}
    result = truth(predicted, true, NORMAL)
    assert result.truly_normal == [75, 75]
    assert result.minimal_edit == [25, 75]
    assert result.two_reasons == 50
    assert result.two_ways == 25


def test_a_single_attribute_has_no_two_reasons_and_no_edit_that_is_not_minimal():
    result = truth({"digit": tensor([[ONE, 2]])}, {"digit": tensor([3])}, {"digit": (ONE,)})
    assert result.truly_normal == [100, 0]
    assert (result.minimal_edit, result.two_reasons, result.two_ways) == (None, None, None)
    assert result.distinct_normals is None


def test_several_normal_values_of_one_attribute():
    shown = tensor([[2, 7, 7], [7, 7, 7], [2, 3, 3], [JUNK, 7, 2], [7, JUNK, 4]])
    true = {"digit": tensor([3, 3, 3, 3, 3])}
    result = truth({"digit": shown}, true, {"digit": (2, 7)})
    assert result.is_normal.tolist() == [
        [True, True, True],
        [True, True, True],
        [True, False, False],
        [False, True, True],
        [True, False, False],
    ]
    assert result.truly_normal == [80, 60, 60]
    assert result.distinct_normals == 40  # the first and the fourth: a two and a seven each


def test_different_normals_are_of_one_attribute_and_never_junk():
    predicted = {"digit": tensor([[ONE, 3], [ONE, 7], [ONE, 7]])}
    predicted["color"] = tensor([[RED, CYAN], [RED, JUNK], [RED, BLUE]])
    true = {"digit": tensor([3, 3, 3]), "color": tensor([RED, RED, RED])}
    result = truth(predicted, true, {"digit": (ONE, 7), "color": (CYAN,)})
    assert result.distinct_normals == pytest.approx(100 / 3)
    assert result.two_reasons == pytest.approx(100 / 3)
    assert truth(predicted, true, NORMAL).distinct_normals is None


def test_an_attribute_that_makes_nothing_normal_must_still_be_kept():
    predicted = {"digit": tensor([[ONE, 3]]), "color": tensor([[RED, CYAN]])}
    predicted["size"] = tensor([[0, 1]])
    true = {"digit": tensor([3]), "color": tensor([RED]), "size": tensor([0])}
    result = truth(predicted, true, NORMAL)
    assert result.minimal_edit == [100, 0]
    assert (result.two_reasons, result.two_ways) == (100, 0)


def test_the_share_of_images_that_are_normal():
    predicted = {
        "digit": tensor([ONE, 3, ONE, JUNK, 7]),
        "color": tensor([RED, CYAN, JUNK, CYAN, RED]),
    }
    assert normal_share(predicted, NORMAL) == 40
    assert normal_share({"digit": predicted["digit"]}, {"digit": (3, 7)}) == 40
    assert normal_share(predicted, {**NORMAL, "digit": (ONE, 7)}) == 60


values = st.lists(st.integers(-1, 6), min_size=12, max_size=12).map(lambda v: tensor(v).view(4, 3))


@settings(deadline=None, max_examples=30)
@given(values, values, st.permutations(range(3)))
def test_the_order_of_concepts_does_not_matter_and_ways_are_reasons(digits, colors, order):
    true = {"digit": torch.full((4,), 3), "color": torch.full((4,), RED)}
    results = [
        truth({"digit": digits[:, k], "color": colors[:, k]}, true, NORMAL)
        for k in (list(range(3)), list(order))
    ]
    assert results[0].two_reasons == results[1].two_reasons
    assert results[0].two_ways == results[1].two_ways <= results[0].two_reasons
    assert sorted(results[0].truly_normal) == sorted(results[1].truly_normal)


@pytest.mark.parametrize(
    ("predicted", "true", "normal"),
    [
        ({}, {}, NORMAL),
        ({"digit": torch.zeros(0, 2)}, {"digit": torch.zeros(0)}, {"digit": (1,)}),
        ({"digit": torch.zeros(2, 2)}, {"digit": torch.zeros(3)}, {"digit": (1,)}),
        ({"digit": torch.zeros(2, 2)}, {}, {"digit": (1,)}),
        ({"digit": torch.zeros(2, 2)}, {"digit": torch.zeros(2)}, {"color": (1,)}),
        ({"digit": torch.zeros(2, 2)}, {"digit": torch.zeros(2)}, {}),
        ({"digit": torch.zeros(2, 2)}, {"digit": torch.zeros(2)}, {"digit": 1}),
        ({"digit": torch.zeros(2, 2)}, {"digit": torch.zeros(2)}, {"digit": ()}),
    ],
)
def test_what_does_not_fit_is_refused(predicted, true, normal):
    with pytest.raises(ValueError, match=r"needs|must be"):
        truth(predicted, true, normal)
