import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.mvtec import evenly_exposed
from ifnormal.data.setups.setup import AnomalySetup
from test_data_parquet import png

SIDE = 32
DEFECTS = {"crack": 6, "hole": 3}


def picture(brightness: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(brightness - 9, brightness + 10, (SIDE, SIDE)).astype(np.uint8)


def mask_of(number: int) -> np.ndarray:
    """A square, in another place in every image."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:16, 2 * number : 2 * number + 8] = 255
    return mask


def defective(number: int) -> np.ndarray:
    image = picture(150, 500 + number)
    image[mask_of(number) > 0] = 20
    return image


def official(folder: Path, masks: bool = True) -> Path:
    """A category as in the official archive."""
    pictures = {f"train/good/{n:03}.png": picture(150, n) for n in range(48)}
    pictures |= {f"test/good/{n:03}.png": picture(150, 100 + n) for n in range(5)}
    number = 0
    for defect, count in DEFECTS.items():
        for n in range(count):
            pictures[f"test/{defect}/{n:03}.png"] = defective(number)
            if masks:
                pictures[f"ground_truth/{defect}/{n:03}_mask.png"] = mask_of(number)
            number += 1
    for name, array in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    return folder


def load(root: Path, category: str = "grid", **options: int) -> AnomalySetup:
    config = DataConfig(setup=f"mvtec/{category}", data_root=root, **{"outliers": 32, **options})
    return load_setup(config, options.pop("seed", 0))


def assert_masked(images: torch.Tensor, masks: torch.Tensor | None) -> None:
    """The dark square of every image is where its mask is set."""
    assert masks is not None
    assert masks.dtype == torch.bool
    assert masks.shape == (len(images), 128, 128)
    assert masks.flatten(1).any(1).all()
    dark = images[:, 0] < 118  # a quarter of the way from the ground to the defect
    overlap = (dark & masks).sum((1, 2)) / (dark | masks).sum((1, 2))
    assert (overlap > 0.8).all()


@pytest.mark.parametrize("place", ["mvtec/grid", "grid", "mvtec_anomaly_detection/grid"])
def test_the_official_layout(tmp_path: Path, place: str) -> None:
    official(tmp_path / place)
    setup = load(tmp_path)
    assert setup.name == "mvtec/grid"
    assert setup.shape == (1, 128, 128)
    assert len(setup.train_normal) + len(setup.validation_normal) == 48
    assert len(setup.validation_normal) == 20
    assert len(setup.test_normal) == 5
    assert len(setup.test_anomalies) == 9
    assert_masked(setup.test_anomalies, setup.test_masks)
    assert setup.facts["outlier_source"] == "synthetic"
    assert setup.judge_images is None
    assert setup.labelled_anomalies is None
    assert setup.attribute_names == {"defect": ("crack", "hole")}
    assert setup.attributes["test_anomalies"]["defect"].bincount().tolist() == [6, 3]
    assert json.dumps(dict(setup.facts))


def test_held_out_images_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    official(tmp_path / "grid")
    config = DataConfig(setup="mvtec/grid", data_root=tmp_path, outliers=32)
    first, second = load_setup(config, 0), load_setup(config, 1)
    for name in ("train_normal", "validation_normal", "test_normal", "test_anomalies"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert not torch.equal(first.outliers, second.outliers)
    known = {image.numpy().tobytes() for image in first.train_normal}
    for part in (first.validation_normal, first.test_normal, first.test_anomalies):
        assert not known & {image.numpy().tobytes() for image in part}


def test_labelled_defects_are_of_every_kind_and_no_test_images(tmp_path: Path) -> None:
    official(tmp_path / "grid")
    setup = load(tmp_path, labelled=5)
    assert setup.labelled_anomalies is not None
    assert len(setup.labelled_anomalies) == 5
    assert_masked(setup.labelled_anomalies, setup.labelled_masks)
    assert_masked(setup.test_anomalies, setup.test_masks)
    left = setup.attributes["test_anomalies"]["defect"].bincount(minlength=2).tolist()
    assert left in ([3, 1], [4, 0])  # 6 and 3 less 3 and 2, or 2 and 3
    known = {image.numpy().tobytes() for image in setup.labelled_anomalies}
    assert not known & {image.numpy().tobytes() for image in setup.test_anomalies}
    with pytest.raises(UserError, match="has 9 defects, labelled is 9"):
        load(tmp_path, labelled=9)


def test_at_most_so_many_test_images(tmp_path: Path) -> None:
    official(tmp_path / "grid")
    setup = load(tmp_path, test_images=3)
    assert len(setup.test_normal) == len(setup.test_anomalies) == 3
    assert_masked(setup.test_anomalies, setup.test_masks)
    assert setup.attributes["test_anomalies"]["defect"].bincount().tolist() == [2, 1]


def test_without_masks(tmp_path: Path) -> None:
    official(tmp_path / "grid", masks=False)
    setup = load(tmp_path, labelled=2)
    assert setup.test_masks is None
    assert setup.labelled_masks is None
    assert len(setup.labelled_anomalies) == 2  # type: ignore[arg-type]


def test_parquet_files_give_the_same_setup(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    expected = load(official(tmp_path / "a" / "grid").parent)
    folder = tmp_path / "b" / "mvtec_grid"
    folder.mkdir(parents=True)

    def item(array: np.ndarray | None) -> dict[str, object] | None:
        return None if array is None else {"bytes": png(array), "path": "x.png"}

    def save(split: str, rows: list[tuple[np.ndarray, str, np.ndarray | None]]) -> None:
        images, defects, masks = zip(*rows, strict=True)
        struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table(
            {
                "image": pa.array(map(item, images), struct),
                "defect_type": list(defects),
                "mask": pa.array(map(item, masks), struct),
            }
        )
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")

    save("train", [(picture(150, n), "good", None) for n in range(48)])
    kinds = [defect for defect, count in DEFECTS.items() for _ in range(count)]
    bad = [(defective(n), defect, mask_of(n)) for n, defect in enumerate(kinds)]
    save("test", [*bad, *((picture(150, 100 + n), "good", None) for n in range(5))])
    setup = load(tmp_path / "b")
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(setup, name)), name


def test_screws_are_evenly_exposed(tmp_path: Path) -> None:
    official(tmp_path / "screw")
    setup = load(tmp_path, "screw")
    assert "190" in str(setup.facts["exposure"])
    for part in (setup.train_normal, setup.validation_normal, setup.test_normal):
        medians = part.flatten(1).float().median(1).values
        assert (medians - 190).abs().max() <= 1
    assert "exposure" not in load(official(tmp_path / "grid").parent).facts


def test_exposure_shifts_every_pixel_alike() -> None:
    images = torch.tensor([[10, 20, 30, 250]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert evenly_exposed(images, 40).flatten().tolist() == [30, 40, 50, 255]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no MVTec-AD category bottle; get the archive from https"):
        load(tmp_path, "bottle")
    official(tmp_path / "grid")
    for path in (tmp_path / "grid" / "train" / "good").glob("0[1-4]*.png"):
        path.unlink()
    with pytest.raises(UserError, match="has 10 good images to train with"):
        load(tmp_path)


@pytest.mark.parametrize(("category", "masks"), [("screw", True), ("bottle", False)])
def test_the_shared_categories(category: str, masks: bool) -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root or not (Path(root) / f"mvtec_{category}").is_dir():
        pytest.skip("IFNORMAL_DATA has no such category")
    setup = load(Path(root), category, labelled=5)
    assert (setup.test_masks is not None) == masks
    assert len(setup.labelled_anomalies) == 5  # type: ignore[arg-type]
    if masks:
        assert setup.test_masks.flatten(1).any(1).float().mean() > 0.9  # type: ignore[union-attr]
