from __future__ import annotations

import importlib
import math
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ifnormal.common.storage import read_json
from ifnormal.config import DetectorConfig, FitConfig, GeneratorConfig
from ifnormal.training.fit import fit

STUDIES = Path(__file__).parents[1] / "studies"
TINY = FitConfig(
    batch_size=4, generator=GeneratorConfig(width=4, inner_blocks=1), discriminator_width=4
)


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDIES)
    module = importlib.import_module("speed")
    monkeypatch.setattr(module, "WARM_UP", 1)
    monkeypatch.setattr(module, "EXPLAINED", (1, 3))
    monkeypatch.setattr(module, "CHANNELS", (4, 8))
    monkeypatch.setattr(module, "CONVOLVED", (2, 8, 8))
    monkeypatch.setattr(module, "DetectorConfig", partial(DetectorConfig, width=8))
    return module


def test_speed_measures_everything_and_saves_it(
    speed: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = speed.median_seconds
    monkeypatch.setattr(speed, "median_seconds", lambda call: quick(call, seconds=0, least=1))
    path = tmp_path / "new" / "speed.json"
    speed.main(["--repeats", "1", "--steps", "1", "--out", str(path)], TINY)
    saved, printed = read_json(path), capsys.readouterr().out

    figures = saved["figures"]
    expected = {"shipped images/s", "float32 contiguous images/s", "shipped / float32 contiguous"}
    expected |= {f"counterfactuals/s, {count} at once" for count in (1, 3)}
    expected |= {f"explained images/s, {count} at once" for count in (1, 3)}
    expected |= {"step / convolution forward", "step / convolution forward + backward"}
    assert expected <= set(figures)
    for name, figure in figures.items():
        assert 0 < figure["min"] <= figure["median"] <= figure["max"] < math.inf
        assert name in printed
    assert saved["variants"]["float32 contiguous"] == "32-true, contiguous"
    assert saved["gflop_a_step"] > 0
    assert {"cores", "versions", "commit", "date"} <= set(saved["facts"])
    assert str(Path.home()) not in path.read_text()


def test_speed_refuses_nothing_to_measure(
    speed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--repeats", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_contiguous_format_is_what_the_library_then_trains_in(speed: ModuleType) -> None:
    setup = speed.random_setup(32)
    detector = speed.train_detector(setup, speed.DetectorConfig(steps=2, batch_size=8), 0)
    config = speed.replace(TINY, steps=1, precision="32-true")
    layouts = []

    def train() -> None:
        fit(
            detector,
            setup.train_normal,
            setup.outliers,
            config,
            seed=0,
            on_step=lambda state: layouts.append(speed._layout(state)),
        )

    with speed.contiguous_format():
        train()
    train()
    assert layouts == ["contiguous", "channels_last"]
    assert torch.channels_last is not torch.contiguous_format


def test_convolution_counts_every_pass(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "median_seconds", lambda call: 1.0)
    forward, both = (speed.convolution_tflops(8, backward) for backward in (False, True))
    products = (2 * 8 * 8) * (8 * 8) * 9  # pixels, channels in and out, taps
    assert forward == pytest.approx(2 * products / 1e12)
    assert both == pytest.approx(3 * forward)
