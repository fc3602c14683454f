import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data import load_setup
from ifnormal.data.sampling import balanced, generator, shuffled_share
from ifnormal.data.setups.card_files import VARIABLE
from ifnormal.data.setups.setup import AnomalySetup
from test_data_parquet import png, write

NAMES = ("apple", "lemon", "lime", "pear")
FAMILY = """
family: fruit
title: Fruit
builder: classes
source: fruit
attribute: kind
size: 8
pad: 2
channels: 1
exposure: {use: EXPOSED}
avoid: {lime: [grass]}
setups:
  - id: "{name}"
    group: single
    normal: "{words}"
    each:
      - lemon
      - {name: citrus, normal: [lemon, lime], anomalies: [apple]}
      - {name: number, normal: [3]}
"""


def value_of(kind: int, number: int) -> int:
    """The grey value of a drawing says which class it is and which of them."""
    return 50 * kind + number + 10


def write_set(folder: Path, kinds: int, train: int, test: int, names: tuple[str, ...]) -> None:
    for split, first, count in (("train", 0, train), ("test", train, test)):
        labels = [k for k in range(kinds) for _ in range(count)]
        images = [
            png(np.full((8, 8), value_of(k, first + n), np.uint8))
            for k in range(kinds)
            for n in range(count)
        ]
        if images:
            write(folder / f"{split}-00000-of-00001.parquet", images, labels, names)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four kinds of fruit, 20 to train and 10 to test with, and 40 outliers of two classes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv(VARIABLE, raising=False)
    write_set(tmp_path / "fruit", 4, 20, 10, NAMES)
    write_set(tmp_path / "plants", 2, 20, 0, ("grass", "moss"))
    return tmp_path


def load(
    root: Path, name: str, exposed: str = "first, of: [plants]", **options: int
) -> AnomalySetup:
    folder = root / "cards"
    folder.mkdir(exist_ok=True)
    (folder / "fruit.yaml").write_text(FAMILY.replace("EXPOSED", exposed))
    seed = options.pop("seed", 0)
    config = DataConfig(
        setup=f"fruit/{name}", data_root=root, cards=folder, **{"outliers": 32, **options}
    )
    return load_setup(config, seed)


def values(images: Tensor | None) -> list[int]:
    assert images is not None
    assert images.shape[1:] == (1, 12, 12)
    return sorted(images[:, 0, 5, 5].tolist())


def kinds(images: Tensor | None) -> set[int]:
    return {(value - 10) // 50 for value in values(images)}


def test_which_images_are_which(root: Path) -> None:
    setup = load(root, "lemon")
    assert setup.name == "fruit/lemon"
    assert setup.normal == "lemon"
    assert kinds(setup.train_normal) == kinds(setup.validation_normal) == {1}
    assert kinds(setup.test_normal) == {1}
    assert kinds(setup.test_anomalies) == kinds(setup.validation_anomalies) == {0, 2, 3}
    assert values(setup.test_normal) == [value_of(1, n) for n in range(20, 30)]
    assert len(setup.train_normal) + len(setup.validation_normal) == 20
    assert setup.normal_attributes == {"kind": (1,)}
    assert setup.attribute_names == {"kind": NAMES}
    assert setup.pictures == "photographs"
    for part in ("validation_anomalies", "test_anomalies"):
        shown = setup.attributes[part]["kind"]
        assert ((getattr(setup, part)[:, 0, 5, 5].long() - 10) // 50).tolist() == shown.tolist()
    border = setup.train_normal.clone()
    border[:, :, 2:-2, 2:-2] = 0
    assert not border.any()
    assert json.dumps(dict(setup.facts))


def test_no_image_is_in_two_parts(root: Path) -> None:
    setup = load(root, "citrus")
    assert setup.normal_attributes == {"kind": (1, 2)}
    assert kinds(setup.test_anomalies) == kinds(setup.validation_anomalies) == {0}
    assert setup.judge_images is not None
    parts = [
        set(values(setup.train_normal)) | set(values(setup.judge_images)),
        set(values(setup.validation_normal)) | set(values(setup.validation_anomalies)),
        set(values(setup.test_normal)) | set(values(setup.test_anomalies)),
    ]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set(values(setup.train_normal)) <= set(values(setup.judge_images))
    assert not set(values(setup.outliers)) & set(values(setup.validation_outliers))


def test_the_seed_decides_outliers_and_nothing_else(root: Path) -> None:
    first, second = load(root, "lemon"), load(root, "lemon", seed=1)
    for name, value in vars(first).items():
        if isinstance(value, Tensor) and name not in ("outliers", "validation_outliers"):
            assert torch.equal(value, getattr(second, name)), name
    assert not torch.equal(first.outliers, second.outliers)
    assert not set(values(first.outliers)) & set(values(second.validation_outliers))


def test_one_judge_serves_the_family(root: Path) -> None:
    setups = [
        load(root, name, seed=seed) for seed, name in enumerate(("lemon", "citrus", "number"))
    ]
    assert kinds(setups[0].judge_images) == {0, 1, 2, 3}
    for other in setups[1:]:
        for name in ("judge_images", "judge_outliers"):
            assert torch.equal(getattr(setups[0], name), getattr(other, name))
        assert torch.equal(setups[0].judge_attributes["kind"], other.judge_attributes["kind"])
    labels = (setups[0].judge_images[:, 0, 5, 5].long() - 10) // 50  # type: ignore[index]
    assert torch.equal(labels, setups[0].judge_attributes["kind"])


def test_at_most_so_many_test_images_each_class_in_proportion(root: Path) -> None:
    setup = load(root, "lemon", test_images=6)
    assert len(setup.test_normal) == len(setup.test_anomalies) == 6
    assert setup.attributes["test_anomalies"]["kind"].bincount().tolist() == [2, 0, 2, 2]
    again = load(root, "lemon", test_images=6, seed=5)
    assert torch.equal(setup.test_anomalies, again.test_anomalies)
    assert set(values(setup.test_anomalies)) < set(values(load(root, "lemon").test_anomalies))


def test_outliers_that_look_like_the_normal_class_are_left_out(root: Path) -> None:
    assert kinds(load(root, "lemon").outliers) == {0, 1}
    citrus = load(root, "citrus")
    assert kinds(citrus.outliers) == kinds(citrus.validation_outliers) == {1}
    assert citrus.facts["outlier_source"] == "plants without grass"


def test_the_first_source_that_is_there(root: Path) -> None:
    setup = load(root, "lemon", "first, of: [weeds, plants]")
    assert setup.facts["outlier_source"] == "plants"
    setup = load(root, "lemon", "first, of: [weeds, synthetic, plants]")
    assert setup.facts["outlier_source"] == "synthetic"
    assert setup.judge_outliers is None
    with pytest.raises(UserError, match=r"needs outliers \(weeds\).*put it into .*weeds"):
        load(root, "lemon", "first, of: [weeds]")


def test_a_mix_by_shares(root: Path) -> None:
    setup = load(root, "lemon", "all, of: {synthetic: 3, plants: 1, weeds: 9}", outliers=40)
    assert setup.facts["outlier_source"] == "synthetic and plants"
    assert len(setup.outliers) == 40
    plain = setup.outliers[30:, :, 2:-2, 2:-2].flatten(1)
    assert (plain == plain[:, :1]).all()  # the ten plants
    assert kinds(setup.judge_outliers) == {0, 1}


def test_the_rest_is_neither_normal_nor_an_anomaly(root: Path) -> None:
    setup = load(root, "citrus", "first, of: [rest]", outliers=1000)
    assert kinds(setup.outliers) == kinds(setup.validation_outliers) == {3}
    assert len(setup.outliers) + len(setup.validation_outliers) == 20
    assert not set(values(setup.outliers)) & set(values(setup.validation_outliers))
    with pytest.raises(UserError, match="every class of fruit/lemon is normal or an anomaly"):
        load(root, "lemon", "first, of: [rest]")


def test_plain_folders_give_the_same_setup(root: Path) -> None:
    expected = load(root, "citrus")
    for split, first, count in (("train", 0, 20), ("val", 20, 10)):
        for kind, name in enumerate(NAMES):
            folder = root / "fruit" / split / name / "images"
            folder.mkdir(parents=True)
            for n in range(first, first + count):
                drawing = np.full((8, 8), value_of(kind, n), np.uint8)
                Image.fromarray(drawing).resize((16, 16)).save(folder / f"{n:03}.png")
    for path in (root / "fruit").glob("*.parquet"):
        path.unlink()
    setup = load(root, "citrus")
    for name, value in vars(expected).items():
        if isinstance(value, Tensor):
            assert values(value) == values(getattr(setup, name)), name


def test_classes_by_key_or_by_name_and_no_others(root: Path) -> None:
    text = FAMILY.replace(
        "attribute: kind", "attribute: kind\nclasses: {n1: lemon, n2: lime, n3: pear}"
    )
    text = text.replace("      - lemon\n", "      - n1\n").replace("normal: [3]", "normal: [pear]")
    folder = root / "cards"
    folder.mkdir()
    (folder / "fruit.yaml").write_text(
        text.replace("EXPOSED", "first, of: [plants]")
        .replace("[lemon, lime]", "[n1, lime]")
        .replace("anomalies: [apple]", "anomalies: [n3]")
    )
    for name, normal in (("n1", {1}), ("citrus", {1, 2}), ("number", {3})):
        config = DataConfig(setup=f"fruit/{name}", data_root=root, cards=folder, outliers=32)
        setup = load_setup(config, 0)
        assert kinds(setup.train_normal) == normal
        assert setup.attribute_names == {"kind": ("lemon", "lime", "pear")}
        assert kinds(setup.judge_images) == {1, 2, 3}
        assert kinds(setup.test_anomalies) == {1, 2, 3} - normal
    assert setup.normal == "pear"


def test_a_copy_of_a_test_image_is_no_training_image(root: Path) -> None:
    path = root / "fruit" / "train-00000-of-00001.parquet"
    labels = [k for k in range(4) for _ in range(20)]
    images = [value_of(k, n % 20) for k in range(4) for n in range(20)]
    images[20:23] = [value_of(1, 25), value_of(0, 25), value_of(1, 26)]
    write(path, [png(np.full((8, 8), v, np.uint8)) for v in images], labels, NAMES)
    setup = load(root, "lemon")
    known = set(values(setup.test_normal)) | set(values(setup.test_anomalies))
    assert {value_of(1, 25), value_of(0, 25)} <= known
    for part in (setup.train_normal, setup.validation_normal, setup.validation_anomalies):
        assert not known & set(values(part))


def test_what_is_missing_is_named(root: Path) -> None:
    write_set(root / "fruit", 4, 20, 10, ("apple", "lemon", "kiwi", "pear"))
    with pytest.raises(UserError, match=r"fruit.yaml: fruit/citrus has a class 'lime'"):
        load(root, "citrus")
    (root / "fruit" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match=r"fruit holds no test-"):
        load(root, "lemon")
    with pytest.raises(UserError, match="has no folder mnist; hf download ylecun/mnist"):
        load_setup(DataConfig(setup="mnist/one-vs-rest/7", data_root=root), 0)
    with pytest.raises(UserError, match=r"There is no data root \(IFNORMAL_DATA"):
        load_setup(DataConfig(setup="mnist/one-vs-rest/7"), 0)


def test_a_class_is_normal_or_an_anomaly(root: Path) -> None:
    load(root, "citrus")
    path = root / "cards" / "fruit.yaml"
    path.write_text(path.read_text().replace("anomalies: [apple]", "anomalies: [lemon]"))
    config = DataConfig(setup="fruit/citrus", data_root=root, cards=root / "cards", outliers=32)
    with pytest.raises(UserError, match="both as normal and as an anomaly"):
        load_setup(config, 0)


def test_evenly_takes_as_many_of_each_as_there_are() -> None:
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 20)
    rng = generator(0, "test")
    assert labels[balanced(labels, 12, rng)].bincount().tolist() in ([5, 3, 4], [4, 3, 5])
    assert (
        balanced(labels, 0, rng).tolist() == balanced(labels, 99, rng).tolist() == list(range(73))
    )
    shuffled = shuffled_share(labels, 0, rng)
    assert sorted(shuffled.tolist()) == list(range(73))
    assert shuffled.tolist() != list(range(73))
    assert len(shuffled_share(labels, 2, rng)) == 2  # fewer than labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id", "shape", "normal"),
    [
        ("mnist/multi/1+7", (1, 32, 32), {"digit": (1, 7)}),
        ("cifar10/one-vs-rest/ship", (3, 32, 32), {"class": (8,)}),
        ("gtsrb/triangles", (3, 32, 32), None),
        ("inn/n02123045", (3, 64, 64), {"class": (10,)}),
        ("cmnist/seven+blue", (3, 32, 32), {"digit": (7,), "color": (4,)}),
    ],
)
def test_the_real_sets(id: str, shape: tuple[int, ...], normal: dict[str, object] | None) -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root:
        pytest.skip("IFNORMAL_DATA names no data root")
    setup = load_setup(DataConfig(setup=id, data_root=Path(root), test_images=200, outliers=200), 0)
    assert setup.shape == shape
    assert normal is None or setup.normal_attributes == normal
    assert 150 < len(setup.outliers) <= 200
    assert 150 < len(setup.test_anomalies) <= 200
    assert setup.judge_images is not None
    assert len(setup.judge_images) <= 30_000
    known = {image.numpy().tobytes() for image in setup.test_anomalies}
    assert not known & {image.numpy().tobytes() for image in setup.train_normal}
