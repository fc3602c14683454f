"""The networks: what they take, what they give, and that every part of the input matters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, tensor

from ifnormal.config import GeneratorConfig
from ifnormal.training.networks.concept_classifier import (
    FeatureConceptClassifier,
    PixelConceptClassifier,
)
from ifnormal.training.networks.discriminator import Discriminator
from ifnormal.training.networks.generator import Generator
from ifnormal.training.networks.steering import target_features

CONFIG = GeneratorConfig(width=4, outer_blocks=1, inner_blocks=1)


def inputs(count: int, channels: int, size: int, concepts: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.rand(count, channels, size, size),
        torch.rand(count),
        torch.randint(concepts, (count,)),
    )


def taught(channels: int = 3, concepts: int = 2) -> Generator:
    """A generator that has learned to darken for target 0 and to brighten for 1, by its concept."""
    generator = Generator(channels, concepts, CONFIG)
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.02)
    images = torch.full((2 * concepts, channels, 8, 8), 0.5)
    targets = tensor([0.0, 1.0]).repeat(concepts)
    concept = torch.arange(concepts).repeat_interleave(2)
    goal = 0.5 + (targets - 0.5) * (0.4 + 0.4 * concept)
    for _ in range(60):
        edited, _ = generator(images, targets, concept)
        optimizer.zero_grad()
        (edited - goal[:, None, None, None]).square().mean().backward()
        optimizer.step()
    return generator


class TestGenerator:
    @pytest.mark.parametrize("size", [8, 28, 32, 64])
    @pytest.mark.parametrize(("channels", "concepts"), [(1, 1), (3, 3)])
    def test_starts_as_the_identity(self, size: int, channels: int, concepts: int) -> None:
        images, targets, concept = inputs(2, channels, size, concepts)
        edited, overshoot = Generator(channels, concepts, CONFIG)(images, targets, concept)
        assert edited.shape == overshoot.shape == images.shape
        torch.testing.assert_close(edited, images, atol=0.05, rtol=0)

    def test_images_need_not_be_square(self) -> None:
        images = torch.rand(2, 3, 8, 20)
        edited, _ = Generator(3, 2, CONFIG)(images, torch.zeros(2), tensor([0, 1]))
        assert edited.shape == images.shape

    def test_batch_of_one(self) -> None:
        edited, _ = Generator(3, 2, CONFIG)(*inputs(1, 3, 8, 2))
        assert edited.shape == (1, 3, 8, 8)
        assert edited.isfinite().all()

    def test_an_image_is_edited_alike_alone_and_in_company(self) -> None:
        generator = taught()
        batch = inputs(5, 3, 8, 2)
        together, _ = generator(*batch)
        alone = [generator(*(part[i : i + 1] for part in batch))[0] for i in range(5)]
        torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("shift", [-2.0, 0.0, 2.0])
    def test_edits_stay_in_range(self, shift: float) -> None:
        generator = Generator(3, 2, CONFIG)
        nn.init.constant_(generator.last.bias, shift)
        edited, _ = generator(*inputs(4, 3, 8, 2))
        assert edited.min() >= 0
        assert edited.max() <= 1

    def test_no_overshoot_where_nothing_is_clamped(self) -> None:
        images, targets, concept = inputs(4, 3, 8, 2)
        _, overshoot = Generator(3, 2, CONFIG)(0.25 + images / 2, targets, concept)
        assert overshoot.count_nonzero() == 0

    def test_overshoot_is_what_the_clamp_cut_off(self) -> None:
        generator = Generator(1, 1, CONFIG)
        nn.init.zeros_(generator.last.weight)
        nn.init.constant_(generator.last.bias, 0.75)
        edited, overshoot = generator(torch.full((1, 1, 8, 8), 0.5), *inputs(1, 1, 8, 1)[1:])
        assert (edited == 1).all()
        torch.testing.assert_close(overshoot, torch.full_like(overshoot, 0.25))

    def test_a_little_gradient_leaks_through_the_clamp(self) -> None:
        generator = Generator(1, 1, CONFIG)
        nn.init.constant_(generator.last.bias, 3)
        edited, _ = generator(*inputs(1, 1, 8, 1))
        edited.sum().backward()
        leaked = generator.last.bias.grad.clone()
        generator.zero_grad()
        nn.init.zeros_(generator.last.bias)
        edited, _ = generator(torch.full((1, 1, 8, 8), 0.5), *inputs(1, 1, 8, 1)[1:])
        edited.sum().backward()
        assert (leaked > 0).all()
        assert (leaked < 0.1 * generator.last.bias.grad).all()

    def test_target_and_concept_steer_the_edit(self) -> None:
        generator = taught()
        images = torch.full((4, 3, 8, 8), 0.5)
        with torch.no_grad():
            edited, _ = generator(images, tensor([0.0, 1, 0, 1]), tensor([0, 0, 1, 1]))
        dark, bright, darker, brighter = edited.mean((1, 2, 3)).tolist()
        assert darker < dark - 0.05 < bright - 0.1 < brighter - 0.15

    def test_every_weight_is_used(self) -> None:
        generator = Generator(3, 2, CONFIG)
        edited, overshoot = generator(*inputs(4, 3, 8, 2))
        (edited.square().mean() + overshoot.sum()).backward()
        unused = [n for n, p in generator.named_parameters() if p.grad is None]
        assert unused == []

    def test_nearby_targets_have_nearby_features(self) -> None:
        targets = torch.linspace(0, 1, 101)
        features = target_features(targets)
        assert features.shape == (101, 4)
        assert features.diff(dim=0).abs().max() < 0.05
        assert torch.cdist(features[:1], features[-1:]).item() > 1


class TestDiscriminator:
    @pytest.mark.parametrize("size", [8, 28, 32, 64])
    @pytest.mark.parametrize(("channels", "concepts"), [(1, 1), (3, 3)])
    def test_one_figure_an_image(self, size: int, channels: int, concepts: int) -> None:
        discriminator = Discriminator(channels, concepts, 4)
        modes = torch.rand(2, concepts).softmax(1)
        realness = discriminator(torch.rand(2, channels, size, size), torch.rand(2), modes)
        assert realness.shape == (2,)
        assert realness.isfinite().all()

    def test_batch_of_one_as_in_company(self) -> None:
        discriminator = Discriminator(3, 2, 4).eval()
        images, scores, modes = torch.rand(3, 3, 8, 8), torch.rand(3), torch.rand(3, 2).softmax(1)
        together = discriminator(images, scores, modes)
        alone = discriminator(images[:1], scores[:1], modes[:1])
        torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-5)

    def test_score_and_modes_change_the_verdict(self) -> None:
        discriminator = Discriminator(3, 2, 4).eval()
        images = torch.rand(1, 3, 8, 8).expand(4, 3, 8, 8)
        modes = tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
        realness = discriminator(images, tensor([0.0, 0.0, 1.0, 1.0]), modes)
        assert len({round(v, 5) for v in realness.tolist()}) == 3
        # An image that is not normal belongs to no normal mode.
        assert realness[2].item() == pytest.approx(realness[3].item(), abs=1e-5)

    def test_learns_to_tell_two_kinds_apart(self) -> None:
        discriminator = Discriminator(1, 1, 4)
        optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.01)
        images = torch.cat([torch.full((4, 1, 8, 8), 0.9), torch.full((4, 1, 8, 8), 0.1)])
        sign = torch.ones(8).index_fill(0, torch.arange(4, 8), -1)
        for _ in range(40):
            realness = discriminator(images, torch.zeros(8), torch.ones(8, 1))
            optimizer.zero_grad()
            (1 - sign * realness).relu().mean().backward()
            optimizer.step()
        assert (sign * realness > 0).all()


def classifiers(concepts: int) -> list[tuple[nn.Module, Tensor]]:
    features = torch.randn(5, 6)
    mean, deviation = features.mean(0), features.std(0)
    return [
        (PixelConceptClassifier(3, concepts, noise=1.0), torch.rand(5, 3, 8, 8)),
        (PixelConceptClassifier(1, concepts, noise=1.0), torch.rand(5, 1, 28, 28)),
        (FeatureConceptClassifier(mean, deviation, concepts, noise=1.0), features),
    ]


class TestConceptClassifiers:
    @pytest.mark.parametrize("concepts", [1, 2, 3])
    @pytest.mark.parametrize("which", range(3), ids=["colour", "grey", "features"])
    def test_logits_a_pair(self, which: int, concepts: int) -> None:
        classifier, seen = classifiers(concepts)[which]
        assert classifier(seen, seen.flip(0)).shape == (5, concepts)
        assert classifier(seen[:1], seen[:1]).shape == (1, concepts)

    @pytest.mark.parametrize("which", range(3), ids=["colour", "grey", "features"])
    def test_noise_only_while_training(self, which: int) -> None:
        classifier, seen = classifiers(2)[which]
        noisy = [classifier(seen, seen) for _ in range(2)]
        assert not torch.equal(*noisy)
        classifier.eval()
        assert torch.equal(classifier(seen, seen), classifier(seen, seen))
        classifier.train().noise = 0.0
        assert torch.equal(classifier(seen, seen), classifier(seen, seen))

    @pytest.mark.parametrize("which", range(3), ids=["colour", "grey", "features"])
    def test_noise_comes_from_the_generator_given(self, which: int) -> None:
        classifier, seen = classifiers(2)[which]
        first, again = (classifier(seen, seen, torch.Generator().manual_seed(7)) for _ in range(2))
        assert torch.equal(first, again)

    @pytest.mark.parametrize("which", range(3), ids=["colour", "grey", "features"])
    def test_the_order_of_the_pair_matters(self, which: int) -> None:
        classifier, seen = classifiers(2)[which]
        classifier.eval()
        there, back = classifier(seen, seen.flip(0)), classifier(seen.flip(0), seen)
        assert not torch.allclose(there, back)

    def test_features_are_standardised(self) -> None:
        features = torch.randn(50, 6) * 40 + 100
        classifier = FeatureConceptClassifier(features.mean(0), features.std(0), 2, noise=0.0)
        standard = classifier.standardize(features)
        torch.testing.assert_close(standard.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
        torch.testing.assert_close(standard.std(0), torch.ones(6), atol=1e-4, rtol=0)
