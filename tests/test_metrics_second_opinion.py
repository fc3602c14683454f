import pytest
import torch
from torch import Generator, nn, tensor

from ifnormal.config import DetectorConfig
from ifnormal.detectors.detector import Detector
from ifnormal.evaluation.second_opinion import SecondOpinion, second_config
from ifnormal.evaluation.validity import second_detector_agrees


class Brightness(nn.Module, Detector):
    """Flags bright images; two convolutions of fixed weights, at two resolutions."""

    shape, threshold = (1, 8, 8), 0.5

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 1, bias=False)
        self.second = nn.Conv2d(2, 1, 2, 2, bias=False)
        with torch.no_grad():
            self.first.weight[:] = tensor([1.0, -1.0]).view(2, 1, 1, 1)
            self.second.weight[:] = tensor([0.25, 0.0]).view(1, 2, 1, 1)

    def inspect(self, images):
        maps = self.second(self.first(images))
        return 10 * (maps.mean((1, 2, 3)) - 0.5), maps.flatten(1)

    def forward(self, images):
        return self.inspect(images)[0].sigmoid()


class NoNetwork(Detector):
    shape, threshold = (1, 8, 8), 0.5

    def __call__(self, images):
        return images.mean((1, 2, 3))

    def inspect(self, images):
        return images.mean((1, 2, 3)), images.flatten(1)[:, :3]


@pytest.fixture
def images():
    return torch.randint(256, (3, 2, 1, 8, 8), generator=Generator().manual_seed(0)).byte()


def test_features_are_the_detectors_own(images):
    opinion = SecondOpinion(Brightness(), "second-detector")
    features = opinion.features(images)
    pooled = nn.functional.avg_pool2d(images.flatten(0, 1) / 255, 2)
    assert torch.allclose(features, pooled.flatten(1), atol=1e-6)
    assert opinion.scores(images).shape == (3, 2)
    assert torch.allclose(opinion.scores(images)[1], opinion.scores(images[1]))


def test_maps_are_the_last_of_each_resolution_and_leave_no_hook(images):
    detector = Brightness()
    maps = SecondOpinion(detector, "second-detector").maps(images)
    assert [tuple(found.shape) for found in maps] == [(6, 2, 8, 8), (6, 1, 4, 4)]
    assert all((found >= 0).all() for found in maps)
    assert torch.allclose(maps[0][:, :1], images.flatten(0, 1) / 255)
    assert not maps[0][:, 1].any()
    assert not any(module._forward_hooks for module in detector.modules())


def test_without_convolutions_there_are_the_features(images):
    maps = SecondOpinion(NoNetwork(), "numbers").maps(images)
    assert [tuple(found.shape) for found in maps] == [(6, 3, 1, 1)]


@pytest.mark.parametrize(
    ("first", "second"), [("bce", "hsc"), ("hsc", "bce"), ("dsvdd", "bce"), ("fcdd", "bce")]
)
def test_it_has_another_objective_and_else_the_same_options(first, second):
    config = second_config(DetectorConfig(objective=first, steps=7))
    assert (config.objective, config.steps) == (second, 7)


def test_agreement_is_at_its_own_threshold():
    scores = tensor([[0.1, 0.9], [0.4, 0.4], [0.5, 0.6], [0.3, 0.2]])
    assert second_detector_agrees(scores, 0.4) == [75, 50]
    with pytest.raises(ValueError, match="N > 0"):
        second_detector_agrees(torch.zeros(0, 2), 0.4)
