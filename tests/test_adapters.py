"""One contract for every adapter: wrap, score, gradient, save."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.adapters import ADAPTERS
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import AdaptedDetector
from ifnormal.detectors.adapted.loading import load_adapted
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.loading import load_detector
from known_detectors import blue, red
from users_models import MAKERS, needs_adapters

pytestmark = needs_adapters


@pytest.fixture(scope="module", params=MAKERS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AdaptedDetector:
    folder = tmp_path_factory.mktemp("model")
    return MAKERS[request.param](folder).calibrated(blue(), red())


def test_every_adapter_is_under_test() -> None:
    assert {adapter.name for adapter in ADAPTERS} == {name.split(",")[0] for name in MAKERS}


class TestContract:
    def test_is_met(self, made: AdaptedDetector) -> None:
        facts = check_contract(made, torch.cat([blue(12, 3), red(12, 4)]))
        assert facts["alone"] < 1e-5
        assert facts["twice"] == 0
        assert made.is_black_box or facts["without_gradient"] == 0

    def test_tells_red_from_blue(self, made: AdaptedDetector) -> None:
        normal, odd = in_batches(made, blue(12, 3)), in_batches(made, red(12, 4))
        assert odd.min() > normal.max()
        assert (odd > made.threshold).all()

    def test_scores_have_their_own_units(self, made: AdaptedDetector) -> None:
        images = to_float(torch.cat([blue(12, 3), red(12, 4)]))
        with torch.no_grad():
            own, (log_odds, _) = made.own(images), made.inspect(images)
        torch.testing.assert_close(made.own_units(log_odds), own.double(), atol=1e-5, rtol=1e-5)
        beyond = (
            own > made.own_threshold if made.higher_is == "anomalous" else own < made.own_threshold
        )
        assert torch.equal(made(images) > made.threshold, beyond)

    def test_features_are_one_row_an_image(self, made: AdaptedDetector) -> None:
        images = to_float(blue(5))
        _, features = made.inspect(images)
        assert features.shape[0] == 5
        assert features.shape[1] >= 3
        assert features.dtype == torch.float32
        alone = torch.cat([made.inspect(image[None])[1] for image in images])
        torch.testing.assert_close(alone, features, atol=1e-5, rtol=1e-4)

    def test_a_step_down_the_gradient_lowers_the_score(self, made: AdaptedDetector) -> None:
        if made.is_black_box:
            assert not made(to_float(red(2)).requires_grad_()).requires_grad
            return
        images = to_float(red(6, 4)).requires_grad_()
        log_odds, features = made.inspect(images)
        (slope,) = torch.autograd.grad(log_odds.sum(), images, retain_graph=True)
        assert (slope.flatten(1).norm(dim=1) > 0).all()
        assert (made.inspect(images - 1e-2 * slope.sign())[0] < log_odds).all()
        (of_features,) = torch.autograd.grad(features.sum(), images)
        assert (of_features.flatten(1).norm(dim=1) > 0).all()

    def test_is_frozen(self, made: AdaptedDetector) -> None:
        assert not any(weight.requires_grad for weight in made.parameters())

    def test_is_the_same_after_saving(self, made: AdaptedDetector, tmp_path: Path) -> None:
        made.save(tmp_path)
        images = to_float(torch.cat([blue(4, 3), red(4, 4)]))
        if made.model.spec:
            again = load_detector(str(tmp_path), trust=True)
        else:
            with pytest.raises(UserError, match="was a Python object"):
                load_detector(str(tmp_path))
            again = load_adapted(tmp_path, model=made.model)
        assert isinstance(again, AdaptedDetector)
        assert again.threshold == made.threshold
        assert again.own_threshold == made.own_threshold
        assert again.facts == made.facts
        with torch.no_grad():
            assert torch.equal(again(images), made(images))
            assert torch.equal(again.inspect(images)[1], made.inspect(images)[1])


def test_the_verb_lists_every_adapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    told = capsys.readouterr().out
    for adapter in ADAPTERS:
        assert f"{adapter.name}: {adapter.meaning}" in told
        assert adapter.why_trust in told
    assert 'pip install "ifnormal[onnx]" (installed)' in told
