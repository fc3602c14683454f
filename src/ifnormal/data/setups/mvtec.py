"""Setups of MVTec-AD (Bergmann et al., CVPR 2019): good images, and defects with masks.

A category may lie as in the official archive, `mvtec/<category>/train/good/*.png`,
`test/<defect>/*.png` and `ground_truth/<defect>/*_mask.png`, or as `<category>/...`, or as Parquet
files in `mvtec_<category>/` with the columns `image`, `defect_type` and `mask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data.files.decoding import decode
from ifnormal.data.files.finding import find_images
from ifnormal.data.sampling import balanced, generator, shuffled_share
from ifnormal.data.setups.card import Card
from ifnormal.data.setups.missing import GOOD, find_category, how_to_get_category
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.locations import parquet_folder
from ifnormal.data.sources.parquet import read_columns
from ifnormal.data.synthetic import changed_pixels, made_outliers, synthetic_outliers

_HELD_OUT = 8  # one in so many normal images
_LEAST_HELD_OUT = 20
_MOST_BYTES = 2**27  # of synthetic outliers
_MASKED = 64  # of 255: a quarter of a reduced pixel is defective


@dataclass(frozen=True)
class _Picture:
    """An image, its defect and the mask of that: paths or contents of files."""

    image: Path | bytes
    defect: str
    mask: Path | bytes | None
    name: str


def mvtec(card: Card, config: DataConfig, seed: int) -> AnomalySetup:
    """Build a setup from a card of the builder "mvtec".

    One in eight good training images is held out for validation, the same ones for every seed.
    Outliers are synthetic, made of good images. `config.labelled` is the number of defects that
    become training images instead of test images, balanced over kinds and the same for every seed.

    Raises:
        UserError: the category is missing or damaged, or has too few images.
    """
    category = card.id.split("/", 1)[1]
    folder = find_category(category, config.data_root)
    if folder is None:
        root = config.data_root or "DATA"
        raise UserError(
            f"{config.data_root or 'No data root (IFNORMAL_DATA, --data.data-root)'} holds no "
            f"MVTec-AD category {category}; {how_to_get_category(category, Path(root))}."
        )
    is_parquet = parquet_folder(folder) is not None
    good, tests = (_in_parquet if is_parquet else _in_folders)(folder)
    facts: dict[str, object] = {"source": f"MVTec-AD {category}", "outlier_source": "synthetic"}
    level = card.options.get("even_exposure")

    def read(pictures: Sequence[_Picture]) -> Tensor:
        size = (card.size, card.size)
        arrays = [torch.from_numpy(decode(p.image, card.channels, p.name, size)) for p in pictures]
        images = torch.stack(arrays)
        return images if level is None else evenly_exposed(images, float(level))

    if level is not None:
        facts["exposure"] = f"evened, the median of every image is {level}"
    test_good = [p for p in tests if p.defect == GOOD]
    bad = [p for p in tests if p.defect != GOOD]
    held_out = max(_LEAST_HELD_OUT, len(good) // _HELD_OUT)
    if len(good) < 2 * held_out or not test_good or not bad:
        raise UserError(
            f"{folder} has {len(good)} good images to train with, {len(test_good)} to test with "
            f"and {len(bad)} defects; put all of the category there."
        )
    defects = tuple(sorted({p.defect for p in bad}))
    kinds = torch.tensor([defects.index(p.defect) for p in bad])
    labelled, at_bad = _labelled(kinds, config.labelled, folder)
    kept = shuffled_share(kinds[at_bad], config.test_images, generator(0, "order of defects"))
    at_bad = at_bad[kept] if config.test_images else at_bad
    every = torch.zeros(len(test_good), dtype=torch.int64)
    at_good = shuffled_share(every, config.test_images, generator(0, "order of good images"))
    order = torch.randperm(len(good), generator=generator(0, "held-out normal images"))
    normal = read(good)
    validation, train = normal[order[:held_out]], normal[order[held_out:]]
    count = max(held_out, min(config.outliers, _MOST_BYTES // normal[0].numel()))
    made = made_outliers(train, count, seed)
    spoilt = synthetic_outliers(validation, max(held_out, count // 10), seed + 1)

    def take(at: Tensor) -> list[_Picture]:
        return [bad[int(n)] for n in at]

    return AnomalySetup(
        name=card.id,
        normal=card.normal,
        train_normal=train,
        validation_normal=validation,
        validation_anomalies=spoilt,
        test_normal=read([test_good[int(n)] for n in at_good]),
        test_anomalies=read(take(at_bad)),
        outliers=made.images,
        validation_outliers=spoilt,
        attributes={"test_anomalies": {"defect": kinds[at_bad]}},
        attribute_names={"defect": defects},
        pictures="photographs",
        outlier_sources=made.sources,
        outlier_masks=changed_pixels(made.images, train, made.sources),
        test_masks=_masks(take(at_bad), card.size),
        labelled_anomalies=read(take(labelled)) if len(labelled) else None,
        labelled_masks=_masks(take(labelled), card.size) if len(labelled) else None,
        facts={
            **facts,
            "images": {
                "train": len(train),
                "validation": len(validation),
                "test normal": len(at_good),
                "test anomalies": len(at_bad),
                "labelled anomalies": len(labelled),
            },
        },
    )


def evenly_exposed(images: Tensor, level: float) -> Tensor:
    """Shift the brightness of each of (N, C, H, W) uint8 images so that its median is `level`."""
    middle = images.flatten(1).float().median(1).values[:, None, None, None]
    return (images.float() + level - middle).clamp(0, 255).round().to(torch.uint8)


def _labelled(kinds: Tensor, count: int, folder: Path) -> tuple[Tensor, Tensor]:
    """Positions of the defects for training and of those for testing."""
    every = torch.arange(len(kinds))
    if not count:
        return every[:0], every
    if count >= len(kinds):
        raise UserError(
            f"{folder} has {len(kinds)} defects, labelled is {count}, which leaves none to test "
            "with; ask for fewer."
        )
    chosen = balanced(kinds, count, generator(0, "labelled defects"))
    return chosen, every[~torch.isin(every, chosen)]


def _masks(pictures: Sequence[_Picture], size: int) -> Tensor | None:
    """(N, size, size) bool masks, or None if one of the images has no mask."""
    masks = [p.mask for p in pictures]
    if any(mask is None for mask in masks):
        return None
    arrays = [
        decode(mask, 1, f"mask of {p.name}", (size, size))[0] >= _MASKED
        for p, mask in zip(pictures, masks, strict=True)
        if mask is not None
    ]
    return torch.stack([torch.from_numpy(array) for array in arrays])


def _in_folders(folder: Path) -> tuple[list[_Picture], list[_Picture]]:
    """Training and test images of the official layout, sorted by name."""

    def pictures(part: Path, defect: str) -> list[_Picture]:
        made: list[_Picture] = []
        for path in find_images([part]):
            mask = folder / "ground_truth" / defect / f"{path.stem}_mask.png"
            has = defect != GOOD and mask.is_file()
            made.append(_Picture(path, defect, mask if has else None, str(path)))
        return made

    test = folder / "test"
    if not test.is_dir():
        raise UserError(f"{folder} has no folder test; put all of the category there.")
    parts = sorted(part for part in test.iterdir() if part.is_dir() and part.name[0] != ".")
    tests = [picture for part in parts for picture in pictures(part, part.name)]
    return pictures(folder / "train" / GOOD, GOOD), tests


def _in_parquet(folder: Path) -> tuple[list[_Picture], list[_Picture]]:
    """Training and test images of Parquet files, in the order of the rows."""
    place = parquet_folder(folder) or folder

    def pictures(split: str) -> list[_Picture]:
        made: list[_Picture] = []
        paths = sorted(place.glob(f"{split}-*-of-*.parquet"))
        if not paths:
            raise UserError(f"{place} holds no {split}-*-of-*.parquet; put it there.")
        for path in paths:
            columns = [
                read_columns(path, name).column(0).to_pylist()
                for name in ("image", "defect_type", "mask")
            ]
            for row, (image, defect, mask) in enumerate(zip(*columns, strict=True)):
                content = image.get("bytes") if isinstance(image, dict) else None
                masked = mask.get("bytes") if isinstance(mask, dict) else None
                made.append(_Picture(content or b"", str(defect), masked, f"{path} row {row}"))
        return made

    return [p for p in pictures("train") if p.defect == GOOD], pictures("test")
