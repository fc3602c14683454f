import dataclasses

import pytest
import torch
from torch import Generator

from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.config import DataConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation.judge.images import IGNORE, JUNK, JUNK_KINDS, half_plane, vary
from ifnormal.evaluation.judge.judge import AttributeJudge, judge_accuracy
from ifnormal.evaluation.judge.network import JudgeNetwork
from ifnormal.evaluation.judge.training import draw_batch, train_judge
from junk_rejection import junk_rejection

CHANNELS = {"red": (1, 0, 0), "cyan": (0, 1, 1)}


def tiny_setup(count=40, names=("digit", "color"), channels=3):
    """Upright and lying bars of 16 by 16 pixels in red and cyan; outliers are diagonals."""
    rng = Generator().manual_seed(0)
    digit, color = torch.randint(2, (2, count), generator=rng)
    images = torch.zeros(count, 16, 16)
    for n, (bar, shift) in enumerate(zip(digit, torch.randint(6, 9, (count,)), strict=True)):
        if bar:
            images[n, shift : shift + 2, 2:14] = 1
        else:
            images[n, 2:14, shift : shift + 2] = 1
    paint = torch.tensor(list(CHANNELS.values()))[color][:, :channels, None, None]
    painted = (255 * images[:, None] * paint).to(torch.uint8)
    diagonal = torch.eye(16).mul(200).to(torch.uint8).expand(4, channels, 16, 16)
    values = {"digit": digit, "color": color}
    meaning = {"digit": ("upright", "lying"), "color": tuple(CHANNELS)}
    return AnomalySetup(
        name="bars",
        normal="upright or cyan",
        train_normal=painted,
        validation_normal=painted,
        validation_anomalies=painted,
        test_normal=painted,
        test_anomalies=painted,
        outliers=diagonal,
        validation_outliers=diagonal,
        attribute_names={name: meaning[name] for name in names},
        judge_images=painted,
        judge_attributes={name: values[name] for name in names},
    )


@pytest.fixture(scope="module")
def setup():
    return tiny_setup()


@pytest.fixture(scope="module")
def judge(setup):
    return train_judge(setup, seed=0, steps=50, width=8)


def test_it_learns_what_images_show(setup, judge):
    right = judge_accuracy(judge, setup.judge_images, setup.judge_attributes)
    assert right["digit"] > 90
    assert right["color"] > 90


@pytest.mark.parametrize("level", [0, 3, 255])
def test_a_blank_image_shows_nothing(judge, level):
    predicted = judge.predict(torch.full((2, 3, 16, 16), level, dtype=torch.uint8))
    assert predicted["digit"].tolist() == [JUNK, JUNK]


def test_junk_is_refused(setup, judge):
    rates = junk_rejection(judge, setup, seed=5, each=32)
    assert set(rates) == set(JUNK_KINDS)
    assert rates["faded"] > 90
    assert rates["noise"] > 90


def test_any_leading_shape_and_any_batch_give_the_same(setup, judge):
    images = setup.judge_images[:12]
    flat, folded = judge.predict(images), judge.predict(images.view(4, 3, 3, 16, 16))
    for name in judge.names:
        assert torch.equal(flat[name].view(4, 3), folded[name])
        assert torch.equal(flat[name][:1], judge.predict(images[:1])[name])
    assert judge.features(images).shape == (12, 128)
    assert [tuple(maps.shape[:1]) for maps in judge.maps(images)] == [(12,)] * 3


def test_no_images_are_an_answer_too(judge):
    assert judge.predict(torch.zeros(0, 2, 3, 16, 16, dtype=torch.uint8))["digit"].shape == (0, 2)


def test_an_uncertain_answer_is_junk(setup, judge):
    strict = dataclasses.replace(judge, confidence=1.01)
    assert (strict.predict(setup.judge_images)["digit"] == JUNK).all()


def test_saved_and_loaded_it_says_the_same(tmp_path, setup, judge):
    judge.save(tmp_path)
    loaded = AttributeJudge.load(tmp_path)
    assert loaded.extractor == judge.extractor == "digit-color-judge"
    assert (loaded.names, loaded.shape, loaded.facts) == (judge.names, judge.shape, judge.facts)
    assert judge.facts == {"seed": 0, "steps": 50, "images": 40}
    assert torch.equal(loaded.features(setup.judge_images), judge.features(setup.judge_images))


def test_a_folder_of_something_else_is_refused(tmp_path, judge):
    judge.save(tmp_path)
    text = (tmp_path / "judge.json").read_text()
    (tmp_path / "judge.json").write_text(text.replace("ifnormal.judge", "another.judge"))
    with pytest.raises(UserError, match="train it again"):
        AttributeJudge.load(tmp_path)


def test_the_seed_decides_and_the_global_one_is_left_alone(setup):
    before = torch.get_rng_state()
    first, second, other = (train_judge(setup, seed, steps=2, width=4) for seed in (1, 1, 2))
    features = [j.features(setup.judge_images[:4]) for j in (first, second, other)]
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])
    assert torch.equal(before, torch.get_rng_state())


def test_grey_images_without_colour_are_judged_too():
    grey = tiny_setup(names=("digit",), channels=1)
    judge = train_judge(grey, seed=0, steps=2, width=4)
    assert judge.extractor == "digit-judge"
    assert "recolored" not in junk_rejection(judge, grey, seed=0, each=4)


@pytest.mark.parametrize("missing", [{"judge_images": None}, {"judge_attributes": {}}])
def test_a_setup_without_labels_is_refused(setup, missing):
    with pytest.raises(UserError, match="no labelled images"):
        train_judge(dataclasses.replace(setup, **missing), seed=0, steps=1)


def test_small_images_are_refused():
    with pytest.raises(UserError, match="16 pixels"):
        JudgeNetwork((3, 8, 8), {"digit": 3})


def test_a_loss_that_is_no_number_stops_the_training(setup, monkeypatch):
    import ifnormal.evaluation.judge.training as training

    monkeypatch.setattr(training, "judge_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(DivergenceError, match="step 0"):
        train_judge(setup, seed=0, steps=1, width=4)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.uint8)]
)
def test_other_images_are_refused(judge, images):
    with pytest.raises(ValueError, match="the judge reads"):
        judge.predict(images)


def test_accuracy_of_nothing_is_refused(judge):
    with pytest.raises(ValueError, match="at least one"):
        judge_accuracy(judge, torch.zeros(0, 3, 16, 16, dtype=torch.uint8), {})


@pytest.mark.parametrize("kind", JUNK_KINDS)
def test_junk_keeps_shape_and_calls_something_junk(setup, kind):
    images = setup.judge_images[:12].float() / 255
    labels = {name: values[:12] for name, values in setup.judge_attributes.items()}
    batch = JUNK_KINDS[kind](images, labels, Generator().manual_seed(0))
    assert batch.images.shape == images.shape
    assert batch.weights.shape == (12,)
    assert any((batch.labels[name] == JUNK).any() for name in labels)
    for name, values in batch.labels.items():
        known = (values != JUNK) & (values != IGNORE)
        assert torch.equal(values[known], labels[name][known])


def test_overlays_of_the_same_are_not_called_junk(setup):
    images = setup.judge_images[:1].float().expand(4, -1, -1, -1) / 255
    labels = {"digit": torch.ones(4, dtype=torch.int64), "color": torch.zeros(4).long()}
    batch = JUNK_KINDS["overlays"](images, labels, Generator().manual_seed(0))
    assert set(batch.labels["digit"].tolist()) == {IGNORE}
    assert torch.equal(batch.labels["color"], labels["color"])


def test_half_planes_go_through_the_bright_part():
    images = torch.zeros(1, 1, 16, 16)
    images[..., 4:8, :] = 1
    mask = half_plane(images, torch.zeros(1, 1, 1, 1))
    assert mask[..., :5, :].max() < 0.5 < mask[..., 7:, :].min()


def test_variations_stay_images_and_follow_the_generator(setup):
    images = setup.judge_images[:8].float() / 255
    first, second = (vary(images, Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() <= 1


def test_a_batch_weighs_letters_less(setup):
    batch = draw_batch(setup, Generator().manual_seed(0), clean=3, each=2)
    assert batch.weights[:3].tolist() == [1, 1, 1]
    assert batch.weights[-1] < 1


@pytest.mark.slow
def test_on_embedded_digits_it_can_be_trusted():
    setup = load_setup(DataConfig(), seed=0)
    judge = train_judge(setup, seed=0)
    right = judge_accuracy(judge, setup.test_anomalies, setup.attributes["test_anomalies"])
    assert right["digit"] > 96
    assert right["color"] > 99.5
    rejected = junk_rejection(judge, setup, seed=1)
    certain = ("faded", "blobs", "noise", "erased", "recolored")
    assert min(rejected[kind] for kind in certain) > 95
