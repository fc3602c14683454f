import dataclasses
import json

import pytest
import torch
from torch import Generator

from ifnormal.common.errors import UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation.judge.images import IGNORE, JUNK, JudgeBatch
from ifnormal.evaluation.judge.judge import AttributeJudge, judge_accuracy
from ifnormal.evaluation.judge.network import JudgeNetwork
from ifnormal.evaluation.judge.photographs import PHOTOGRAPH_JUNK, vary_photographs
from ifnormal.evaluation.judge.training import draw_batch, judge_key, train_judge
from junk_rejection import junk_rejection


def gratings(count=60, seed=0):
    """Photographs of a kind, 16 by 16: upright or lying stripes in any two colours, and which."""
    rng = Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=rng)
    colors = torch.rand(2, count, 3, 1, 1, generator=rng)
    place = torch.arange(16).float() + torch.randint(8, (count, 1), generator=rng)
    wave = (torch.sin(place * 1.2) > 0).float()
    wave = torch.where(
        labels[:, None, None] == 1, wave[:, :, None].expand(-1, -1, 16), wave[:, None, :]
    )[:, None]
    images = wave * (0.1 + 0.4 * colors[0]) + (1 - wave) * (0.55 + 0.4 * colors[1])
    return images.mul(255).to(torch.uint8), labels


@pytest.fixture(scope="module")
def setup():
    images, labels = gratings()
    strangers = torch.randint(256, (8, 3, 16, 16), generator=Generator().manual_seed(1)).byte()
    return AnomalySetup(
        name="stripes/upright",
        normal="upright",
        train_normal=images,
        validation_normal=images,
        validation_anomalies=images,
        test_normal=images,
        test_anomalies=images,
        outliers=images[:4],
        validation_outliers=images[:4],
        attribute_names={"class": ("upright", "lying")},
        judge_images=images,
        judge_attributes={"class": labels},
        judge_outliers=strangers,
        pictures="photographs",
        facts={"mirror": True},
    )


@pytest.fixture(scope="module")
def judge(setup):
    return train_judge(setup, seed=0, steps=40, width=8)


def test_it_learns_what_photographs_show_and_refuses_junk(setup, judge):
    images, labels = gratings(seed=3)
    assert judge_accuracy(judge, images, {"class": labels})["class"] > 85
    rates = junk_rejection(judge, setup, seed=5, each=30)
    assert set(rates) == set(PHOTOGRAPH_JUNK)
    assert rates["faint"] > 80
    assert rates["noise"] > 80


def test_its_label_is_that_of_the_family_and_is_saved(tmp_path, setup, judge):
    judge.save(tmp_path)
    loaded = AttributeJudge.load(tmp_path)
    assert loaded.extractor == judge.extractor == "stripes-judge"
    assert torch.equal(loaded.features(setup.judge_images), judge.features(setup.judge_images))
    assert all((found >= 0).all() for found in loaded.maps(setup.judge_images[:2]))


def test_version_1_knew_drawings_only_and_is_still_read(tmp_path):
    names = {"digit": ("0", "1"), "color": ("red", "cyan")}
    network = JudgeNetwork((3, 16, 16), dict.fromkeys(names, 3), width=4).eval()
    old = AttributeJudge(network, (3, 16, 16), names)
    old.save(tmp_path)
    facts = json.loads((tmp_path / "judge.json").read_text())
    facts["version"] = 1
    for key in ("label", "pictures"):
        del facts[key]
    (tmp_path / "judge.json").write_text(json.dumps(facts))
    loaded = AttributeJudge.load(tmp_path)
    assert loaded.extractor == "digit-color-judge"
    images = gratings(4)[0]
    assert torch.equal(loaded.features(images), old.features(images))


@pytest.mark.parametrize("side", [16, 32, 33, 40, 50, 64, 100, 224])
def test_any_size_ends_on_a_small_grid(side):
    network = JudgeNetwork((3, side, side), {"class": 3}, 4, "photographs").eval()
    with torch.inference_mode():
        maps = network.maps(torch.rand(2, 3, side, side))
        assert network(torch.rand(2, 3, side, side))["class"].shape == (2, 3)
    assert maps[0].shape[2] <= 56
    assert 3 <= maps[-1].shape[2] <= 6


@pytest.mark.parametrize("kind", PHOTOGRAPH_JUNK)
def test_junk_keeps_shape_and_range_and_calls_something_junk(setup, kind):
    images = setup.judge_images[:12].float() / 255
    labels = {"class": setup.judge_attributes["class"][:12]}
    batch = PHOTOGRAPH_JUNK[kind](images, labels, Generator().manual_seed(0))
    assert isinstance(batch, JudgeBatch)
    assert batch.images.shape == images.shape
    assert batch.images.min() >= -1e-6
    assert batch.images.max() <= 1 + 1e-6
    assert (batch.labels["class"] == JUNK).any()


def test_mixed_up_pieces_are_the_same_pixels():
    images = gratings(9)[0].float() / 255
    labels = {"class": torch.zeros(9).long()}
    mixed = PHOTOGRAPH_JUNK["shuffled"](images, labels, Generator().manual_seed(0)).images
    assert not torch.equal(mixed, images)
    assert torch.allclose(mixed.flatten(2).sort().values, images.flatten(2).sort().values)


def test_of_two_photographs_of_one_class_nobody_can_say():
    images = gratings(4)[0].float() / 255
    labels = {"class": torch.tensor([1, 1, 0, 1])}
    verdict = PHOTOGRAPH_JUNK["double exposures"](images, labels, Generator()).labels["class"]
    assert verdict.tolist() == [IGNORE, IGNORE, JUNK, JUNK]


def test_strangers_are_those_for_the_judge_where_there_are_some(setup):
    dark = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    given = dataclasses.replace(setup, judge_outliers=dark)
    batch = draw_batch(given, Generator().manual_seed(0), clean=2, each=4)
    last = batch.images[-4:]
    assert last.mean((1, 2, 3)).max() < 0.25  # varied, but dark all over
    assert batch.weights[-1] < 1
    assert batch.labels["class"][-4:].tolist() == [JUNK] * 4


def test_only_where_it_may_is_anything_mirrored():
    images = torch.zeros(200, 3, 16, 16)
    images[..., :5] = 1  # light comes from the left

    def from_the_right(mirror):
        varied = vary_photographs(images, Generator().manual_seed(0), mirror)
        return (varied[..., 8:].mean((1, 2, 3)) > varied[..., :8].mean((1, 2, 3))).float().mean()

    assert from_the_right(mirror=False) == 0
    assert 0.3 < from_the_right(mirror=True) < 0.7


def test_half_of_them_keep_every_detail():
    """Stripes of one pixel: moved by whole pixels they stay as sharp, turned they do not."""
    stripes = (torch.arange(16) % 2).float().expand(400, 3, 16, 16)
    varied = vary_photographs(stripes, Generator().manual_seed(0), mirror=False)[:, :, 4:12, 4:12]
    step = varied.diff(dim=3).abs().mean((1, 2, 3)) / varied.mean((1, 2, 3)).clamp_min(1e-3)
    sharp = (step > 1.4).float().mean()
    assert 0.25 < sharp < 0.75


def test_variations_stay_images_and_follow_the_generator(setup):
    images = setup.judge_images[:8].float() / 255
    first, second = (
        vary_photographs(images, Generator().manual_seed(4), mirror=True) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() <= 1


class TestKey:
    def test_setups_of_a_family_share_it(self, setup):
        other = dataclasses.replace(
            setup, name="stripes/lying", normal="lying", normal_attributes={"class": (1,)}
        )
        assert judge_key(other, 1, 5) == judge_key(setup, 1, 5)

    def test_whatever_makes_another_judge_changes_it(self, setup):
        changed = setup.judge_images.clone()
        changed[3, 1, 2, 2] += 1
        labels = setup.judge_attributes["class"].clone()
        labels[7] = 1 - labels[7]
        others = [
            dataclasses.replace(setup, judge_images=changed),
            dataclasses.replace(setup, judge_attributes={"class": labels}),
            dataclasses.replace(setup, judge_outliers=None),
            dataclasses.replace(setup, facts={"mirror": False}),
            dataclasses.replace(setup, pictures="drawings"),
            dataclasses.replace(setup, name="other/upright"),
            dataclasses.replace(setup, attribute_names={"class": ("up", "lying")}),
        ]
        keys = [judge_key(each, 1, 5) for each in [setup, *others]]
        keys += [judge_key(setup, 2, 5), judge_key(setup, 1, 6)]
        assert len(set(keys)) == len(keys)

    def test_without_labels_there_is_none(self, setup):
        with pytest.raises(UserError, match="no labelled images"):
            judge_key(dataclasses.replace(setup, judge_images=None), 1)
