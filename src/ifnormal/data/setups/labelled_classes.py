"""Setups of labelled images: some classes are normal, others anomalous (MNIST, CIFAR-10, GTSRB)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data.sampling import balanced, generator, shuffled_share, stratified
from ifnormal.data.setups.card import Card
from ifnormal.data.setups.outlier_sources import Normal, card_outliers, padded
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.labelled import LazyImages, Split
from ifnormal.data.sources.named_source import NamedImages, open_source

_HELD_OUT = 0.1
_JUDGE_IMAGES = 30_000
_JUDGE_BYTES = 2**29


def labelled_classes(card: Card, config: DataConfig, seed: int) -> AnomalySetup:
    """Build a setup from a card of the builder "classes".

    A tenth of the training images of each class is held out for validation, the same ones for
    every seed. The seed decides the choice of outliers.

    Raises:
        UserError: images are missing or damaged, or a class of the card is not among them.
    """
    named = open_source(card.source, config.data_root, card.channels, (card.size, card.size))
    train, test = _scan(named, card, "train"), _scan(named, card, "test")
    names = train.class_names
    if test.class_names != names:
        raise UserError(f"{named.folder} has other classes to test than to train; make them agree.")
    normal = _numbers(card.normal_classes, card, names)
    anomalous = _numbers(card.anomaly_classes, card, names) or tuple(
        n for n in range(len(names)) if n not in normal
    )
    if set(normal) & set(anomalous) or not normal:
        raise UserError(f"{card.file} has a class of {card.id} both as normal and as an anomaly.")
    held, rest = stratified(
        train.labels, round(_HELD_OUT * len(train)), generator(0, "validation images")
    )

    def of(classes: tuple[int, ...], among: Tensor, labels: Tensor) -> Tensor:
        return among[torch.isin(labels[among], torch.tensor(classes))]

    every = torch.arange(len(test))
    at_test = {
        name: _shuffled(of(classes, every, test.labels), test.labels, config.test_images)
        for name, classes in (("normal", normal), ("anomalies", anomalous))
    }
    at_validation = _shuffled(of(anomalous, held, train.labels), train.labels, config.test_images)
    test_normal, test_anomalies = (
        _read(test, card, at_test[name]) for name in ("normal", "anomalies")
    )
    known = {image.numpy().tobytes() for part in (test_normal, test_anomalies) for image in part}
    train_normal, _ = _without(train, card, of(normal, rest, train.labels), known)
    validation_normal, _ = _without(train, card, of(normal, held, train.labels), known)
    validation_anomalies, at_validation = _without(train, card, at_validation, known)
    others = tuple(n for n in range(len(names)) if n not in {*normal, *anomalous})

    def rest_of(among: Tensor) -> Callable[[int], Tensor]:
        at = of(others, among, train.labels)
        order = at[torch.randperm(len(at), generator=generator(seed, "choice of the rest"))]
        return lambda count: padded(train.read(order[:count]).images, card.pad)

    outliers = card_outliers(
        card,
        config.data_root,
        Normal(
            train_normal,
            validation_normal,
            normal,
            tuple(names[n] for n in normal),
            (rest_of(rest), rest_of(held)),
        ),
        config.outliers,
        seed,
    )
    judge_images, judge_labels = _judge(card, train, rest)
    shown = {
        "validation_anomalies": train.labels[at_validation],
        "test_anomalies": test.labels[at_test["anomalies"]],
    }
    return AnomalySetup(
        name=card.id,
        normal=card.normal,
        train_normal=train_normal,
        validation_normal=validation_normal,
        validation_anomalies=validation_anomalies,
        test_normal=test_normal,
        test_anomalies=test_anomalies,
        outliers=outliers.train,
        validation_outliers=outliers.validation,
        attributes={part: {card.attribute: labels} for part, labels in shown.items()},
        attribute_names={card.attribute: names},
        judge_images=judge_images,
        judge_attributes={card.attribute: judge_labels},
        judge_outliers=outliers.judge,
        normal_attributes={card.attribute: normal},
        pictures=card.pictures,
        facts={
            "source": card.source.title or card.source.name,
            "outlier_source": outliers.source,
            # Whether mirrored images are as good, also for the judge.
            "mirror": card.budgets.get("small", {}).get("detector.flip") == "horizontal",
            "images": {
                "train": len(train_normal),
                "validation": len(validation_normal),
                "test normal": len(test_normal),
                "test anomalies": len(test_anomalies),
                "outliers": len(outliers.train),
            },
        },
    )


def _scan(named: NamedImages, card: Card, split: Split) -> LazyImages:
    """Scan a split; only the classes that the card lists, if it lists any."""
    if not card.classes:
        return named.scan(split)
    lazy = named.scan(split, frozenset(card.classes))
    at: list[int] = []
    for key, name in card.classes.items():
        # Some sets name a class by its key, others by its name.
        found = [n for n in (key, name) if n in lazy.class_names]
        if not found:
            raise UserError(
                f"{named.folder} has no class {key} ({name}), which {card.file} lists; put all of "
                "the set there or take the class out of the card."
            )
        at.append(lazy.class_names.index(found[0]))
    return lazy.only(at, tuple(card.classes.values()))


def _numbers(classes: tuple[str | int, ...], card: Card, names: tuple[str, ...]) -> tuple[int, ...]:
    """Classes of a card as indices into `names`."""
    keys = list(card.classes)
    numbers: list[int] = []
    for name in classes:
        if isinstance(name, int) and 0 <= name < len(names):
            numbers.append(name)
        elif isinstance(name, str) and name in keys:
            numbers.append(keys.index(name))
        elif isinstance(name, str) and name in names:
            numbers.append(names.index(name))
        else:
            raise UserError(
                f"{card.file}: {card.id} has a class {name!r}, which is none of the "
                f"{len(names)} in {card.source.name}; correct the card."
            )
    return tuple(numbers)


def _shuffled(at: Tensor, labels: Tensor, count: int) -> Tensor:
    """At most `count` (0: all) of the positions, labels in proportion, in random order."""
    return at[shuffled_share(labels[at], count, generator(0, "order of images"))]


def _without(lazy: LazyImages, card: Card, at: Tensor, known: set[bytes]) -> tuple[Tensor, Tensor]:
    """Read the images at these positions without exact copies of test images.

    Returns:
        The images and their positions.
    """
    images = _read(lazy, card, at)
    keep = torch.tensor([image.numpy().tobytes() not in known for image in images])
    return (images, at) if bool(keep.all()) else (images[keep], at[keep])


def _read(lazy: LazyImages, card: Card, at: Tensor) -> Tensor:
    if not len(at):
        raise UserError(
            f"{card.source.name} has no images of {card.id} for one of training, validation and "
            "test; put all of the set into the data root."
        )
    return padded(lazy.read(at).images, card.pad)


def _judge(card: Card, train: LazyImages, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Training images of all classes, balanced, limited in number and memory."""
    side = card.size + 2 * card.pad
    most = min(_JUDGE_IMAGES, _JUDGE_BYTES // (card.channels * side * side))
    at = rest[balanced(train.labels[rest], most, generator(0, "judge images"))]
    return padded(train.read(at).images, card.pad), train.labels[at]
