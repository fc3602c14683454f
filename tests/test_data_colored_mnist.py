import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy import ndarray, uint8
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data import SETUPS, load_setup
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.setups.colored_mnist import COLOR_NAMES, COLORS, colorize
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.lookalikes import is_stroke
from test_data_parquet import png, write

CYAN = COLOR_NAMES.index("cyan")
SMALL = DataConfig(drawings=400, outliers=40)


def grey_of(images: Tensor) -> Tensor:
    return images.amax(1, keepdim=True)[:, :, 2:-2, 2:-2]


def colors_of(images: Tensor) -> Tensor:
    """(N,) colour indices, read off the pixels; fails for a colour that is none of the seven."""
    inked = images.amax((2, 3)) > 0
    matches = (inked[:, None] == torch.tensor(list(COLORS.values())).bool()).all(-1)
    assert (matches.sum(1) == 1).all()
    return matches.int().argmax(1)


def drawings_in(*parts: Tensor) -> set[bytes]:
    return {grey.numpy().tobytes() for part in parts for grey in grey_of(part)}


@pytest.fixture(scope="module")
def small() -> AnomalySetup:
    return load_setup(SMALL, seed=0)


@settings(deadline=None, max_examples=25)
@given(
    grey=arrays(uint8, (3, 1, 28, 28)), colors=st.lists(st.integers(0, 6), min_size=3, max_size=3)
)
def test_colorize_multiplies_and_pads(grey: ndarray, colors: list[int]) -> None:
    painted = colorize(torch.from_numpy(grey), torch.tensor(colors))
    assert painted.shape == (3, 3, 32, 32)
    for image, drawing, color in zip(painted, grey, colors, strict=True):
        for channel, on in zip(image, COLORS[COLOR_NAMES[color]], strict=True):
            assert torch.equal(channel[2:-2, 2:-2], torch.from_numpy(drawing[0]) * on)
            assert channel.sum() == channel[2:-2, 2:-2].sum()


@settings(deadline=None, max_examples=30)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_stratified_is_a_partition_with_every_label(
    labels: list[int], share: float, seed: int
) -> None:
    count = int(share * len(labels))
    chosen, rest = stratified(torch.tensor(labels), count, generator(seed, "test"))
    assert sorted(chosen.tolist() + rest.tolist()) == list(range(len(labels)))
    assert {labels[i] for i in chosen} == set(labels)
    assert len(chosen) <= count + len(set(labels))


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**31), digit=st.integers(0, 9), color=st.sampled_from(COLOR_NAMES))
def test_what_every_setup_promises(seed: int, digit: int, color: str) -> None:
    config = DataConfig(drawings=300, outliers=32, normal_digit=digit, normal_color=color)
    setup = load_setup(config, seed)
    normal = COLOR_NAMES.index(color)
    train = drawings_in(setup.train_normal, setup.judge_images)  # type: ignore[arg-type]
    validation = drawings_in(setup.validation_normal, setup.validation_anomalies)
    test = drawings_in(setup.test_normal, setup.test_anomalies)
    assert not train & validation
    assert not train & test
    assert not validation & test
    used = drawings_in(setup.train_normal)
    assert len(used) + len(validation) + len(test) <= config.drawings
    assert not drawings_in(setup.outliers) & drawings_in(setup.validation_outliers)
    for anomalies in (setup.test_anomalies, setup.outliers, setup.validation_outliers):
        assert not (colors_of(anomalies) == normal).any()
    for part in ("validation_anomalies", "test_anomalies"):
        assert torch.equal(setup.attributes[part]["color"], colors_of(getattr(setup, part)))
        assert (setup.attributes[part]["digit"] != digit).all()
    assert setup.normal_attributes == {"digit": (digit,), "color": (normal,)}


def test_both_normal_modes_are_there_in_every_colour(small: AnomalySetup) -> None:
    counts: dict[str, object] = small.facts["drawings"]  # type: ignore[assignment]
    for part, total in (("train", counts["train"]), ("test", counts["test"])):
        images = small.train_normal if part == "train" else small.test_normal
        of_each_color = colors_of(images).bincount(minlength=7).tolist()
        assert of_each_color.pop(CYAN) == total
        assert of_each_color == [int(str(total)) // 10] * 6


def test_normal_images_in_another_colour_are_ones(small: AnomalySetup) -> None:
    ones = grey_of(small.train_normal[colors_of(small.train_normal) != CYAN])
    assert is_stroke(ones).float().mean() > 0.9


def test_one_colour_for_each_digit_keeps_the_normal_ones(small: AnomalySetup) -> None:
    config = DataConfig(drawings=400, outliers=40, colors_per_digit="one")
    setup = load_setup(config, 0)
    assert len(drawings_in(setup.train_normal)) == len(setup.train_normal)
    assert drawings_in(setup.train_normal) < drawings_in(small.train_normal)
    assert torch.equal(setup.test_normal, small.test_normal)


def test_outliers_are_as_many_as_asked_for(small: AnomalySetup) -> None:
    assert len(small.outliers) == 40
    assert len(small.validation_outliers) == 4
    assert not is_stroke(grey_of(small.outliers)).any()


def test_the_judge_sees_every_digit_in_every_colour(small: AnomalySetup) -> None:
    assert small.judge_images is not None
    digits, colors = small.judge_attributes["digit"], small.judge_attributes["color"]
    assert torch.equal(colors_of(small.judge_images), colors)
    assert (digits * 7 + colors).bincount(minlength=70).min() > 0


def tensors(setup: AnomalySetup) -> Iterator[tuple[str, Tensor]]:
    for field in fields(setup):
        value = getattr(setup, field.name)
        if isinstance(value, Tensor):
            yield field.name, value


def test_the_seed_decides_all_of_the_setup_but_the_judges_images(small: AnomalySetup) -> None:
    again, other = load_setup(SMALL, 0), load_setup(SMALL, 1)
    for name, tensor in tensors(small):
        assert torch.equal(tensor, getattr(again, name)), name
        different = getattr(other, name)
        if name.startswith("judge"):
            assert torch.equal(tensor, different), name
            continue
        assert tensor.shape != different.shape or not torch.equal(tensor, different), name


def test_drawings_held_out_are_the_same_for_every_seed() -> None:
    config = DataConfig(outliers=32)
    first, second = load_setup(config, 0), load_setup(config, 1)
    assert drawings_in(first.validation_normal) == drawings_in(second.validation_normal)


def test_facts_are_json(small: AnomalySetup) -> None:
    assert "rendered" in json.dumps(dict(small.facts))
    assert small.shape == (3, 32, 32)
    assert {len(names) for names in small.attribute_names.values()} == {7, 10}


def data_root(folder: Path, letters: str) -> Path:
    """A data root of noise: digits, and three square-shaped drawings of each letter."""
    rng = torch.Generator().manual_seed(0)

    def noise() -> ndarray:
        return torch.randint(1, 256, (28, 28), generator=rng, dtype=torch.uint8).numpy()

    digits = [digit for digit in range(10) for _ in range(20)]
    for split in ("train", "test"):
        path = folder / "mnist" / f"{split}-00000-of-00001.parquet"
        write(path, [png(noise()) for _ in digits], digits, tuple("0123456789"))
    # A letter's pixels all have the value 100 + its index, so that outliers tell what they are.
    labels = [i for i in range(len(letters)) for _ in range(3)]
    images = []
    for n, label in enumerate(labels):
        drawing = torch.zeros(28, 28, dtype=torch.uint8)
        drawing[4 : 18 + n % 3, 4:18] = 100 + label
        images.append(png(drawing.numpy()))
    write(folder / "emnist_letters" / "train-00000-of-00001.parquet", images, labels, (*letters,))
    return folder


def test_handwritten_letters_like_a_one_are_left_out(tmp_path: Path) -> None:
    setup = load_setup(DataConfig(data_root=data_root(tmp_path, "AILJB"), outliers=36), 0)
    assert setup.facts["outlier_source"] == "EMNIST letters"
    assert set((setup.outliers.amax((1, 2, 3)) - 100).tolist()) == {0, 4}
    # Four training letters are used nine times each, in all the six colours first.
    seen = {(int(x.sum()), x.numpy().tobytes()) for x in setup.outliers}
    assert len(seen) == 4 * 6
    assert not drawings_in(setup.outliers) & drawings_in(setup.validation_outliers)


def test_a_data_root_without_suitable_letters_or_digits_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="has no folder mnist"):
        load_setup(DataConfig(data_root=tmp_path), 0)
    root = data_root(tmp_path, "IL")
    with pytest.raises(UserError, match="no letters that are unlike digit 1"):
        load_setup(DataConfig(data_root=root), 0)
    write(root / "mnist" / "train-00000-of-00001.parquet", [png(ndarray((9, 9), uint8))], [0])
    with pytest.raises(UserError, match="not 28x28 images of ten digits"):
        load_setup(DataConfig(data_root=root), 0)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'nothing'; choose one of colored-mnist"):
        load_setup(DataConfig(setup="nothing"), 0)
    with pytest.raises(UserError, match="'mauve'; choose one of red, yellow"):
        load_setup(DataConfig(normal_color="mauve"), 0)
    assert set(SETUPS) == {"colored-mnist", "folder"}


def test_the_full_sets_from_the_shared_data_root() -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root:
        pytest.skip("IFNORMAL_DATA names no data root")
    setup = load_setup(DataConfig(data_root=Path(root), drawings=2000, outliers=200), 0)
    assert setup.facts["outlier_source"] == "EMNIST letters"
    assert not is_stroke(grey_of(setup.outliers)).any()
