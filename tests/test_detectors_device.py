"""Images reach a model on its own device, and its scores come back to where the images are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ifnormal.app.what_if import scored
from ifnormal.common.pixels import to_float
from ifnormal.detectors import detector
from ifnormal.detectors.adapted import detector as adapted
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import adapt
from ifnormal.detectors.black_box.queries import Queries
from known_detectors import COLOR, KnownDetector, blue, mean_color, red
from users_models import RedNetwork, redness

ELSEWHERE = torch.device("meta")  # the one other device that every machine has


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every detector says that it computes elsewhere."""
    for module in (adapted, detector):
        monkeypatch.setattr(module, "device_of", lambda model: ELSEWHERE)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Where the images were moved to; they stay, so that a machine without a GPU can score them."""
    seen: list[torch.device] = []
    move = Tensor.to

    def watched(images: Tensor, *where: object, **how: object) -> Tensor:
        if where == (ELSEWHERE,):
            seen.append(ELSEWHERE)
            return images.clone()
        return move(images, *where, **how)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(Tensor, "to", watched)
    return seen


@pytest.mark.usefixtures("elsewhere")
class TestElsewhere:
    def test_contract_and_calibration(self, devices: list[torch.device]) -> None:
        model = adapt(RedNetwork(), shape=COLOR)
        check_contract(model, torch.cat([blue(8), red(8)]))
        assert devices
        devices.clear()
        model.calibrated(blue(20), red(20))
        assert devices

    def test_the_gradient_comes_back(self, devices: list[torch.device]) -> None:
        images = to_float(red(4)).requires_grad_()
        log_odds, features = adapt(RedNetwork(), shape=COLOR).inspect(images)
        assert len(devices) == 1
        assert log_odds.device == features.device == images.device
        (slope,) = torch.autograd.grad(log_odds.sum(), images)
        assert (slope.flatten(1).norm(dim=1) > 0).all()

    @pytest.mark.parametrize("known", [mean_color()])
    def test_any_detector(self, known: KnownDetector, devices: list[torch.device]) -> None:
        assert Queries(known, 10).ask(red(3)).shape == (3,)
        assert len(scored(known, red(3))) == 3
        assert devices == [ELSEWHERE] * 2


def test_the_model_gets_what_was_moved(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapt(RedNetwork(), shape=COLOR)
    seen = []

    def forward(images: Tensor) -> tuple[Tensor, None]:
        seen.append(images.device)
        return torch.zeros(len(images)), None

    monkeypatch.setattr(model.model, "forward", forward)
    log_odds, features = model.inspect(to_float(red(3)))
    assert seen == [ELSEWHERE]
    assert log_odds.device == features.device == torch.device("cpu")


def test_a_function_stays_on_the_cpu() -> None:
    network = nn.Linear(3, 1)
    model = adapt(lambda images: network(images.mean((2, 3)))[:, 0] + redness(images), shape=COLOR)
    assert detector.device_of(model.to(ELSEWHERE)) == torch.device("cpu")
    with pytest.raises(NotImplementedError, match="meta tensor"):  # brought back, if it held any
        model.inspect(torch.zeros(2, *COLOR, device=ELSEWHERE))
