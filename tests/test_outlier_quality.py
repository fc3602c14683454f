"""What a fit is told of the quality of its synthetic outliers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ifnormal.common.errors import UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic import made_outliers
from ifnormal.detectors.outlier_rating import rate_outliers, with_useful_outliers
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.fit_data import FitData, prepare_fit_data
from ifnormal.explainers.outlier_quality import rated
from ifnormal.training.images import TrainingImages
from known_detectors import blue, mean_color, red, tiny

pytestmark = pytest.mark.usefixtures("few_synthetic")


@pytest.fixture(scope="module")
def prepared(few_synthetic: None) -> FitData:
    made = made_outliers(blue(40), 30, 0)
    facts = {"synthetic_outliers": {"made": 60, "flagged": 30}}
    return FitData(mean_color(), blue(40), made.images, facts, made.sources, made.kinds)


def test_a_report_rates_some_and_weighs_none(prepared: FitData) -> None:
    found = rated(prepared, "report")
    quality = found.facts["synthetic_outliers"].pop("quality")
    assert found.facts == prepared.facts
    assert found.weights is None
    assert quality["rated"] == 20 == sum(kind["rated"] for kind in quality["kinds"].values())
    assert quality["useless"] == quality["indistinguishable"] + quality["unrealistic"]
    assert set(quality["kinds"]) <= set(prepared.kinds)


def test_all_are_rated_where_good_ones_are_preferred(prepared: FitData) -> None:
    found = rated(prepared, "prefer")
    assert found.facts["synthetic_outliers"]["quality"]["rated"] == 30
    assert found.weights is not None
    assert found.weights.shape == (30,)
    assert float(found.weights.min()) > 0
    again = rated(prepared, "prefer").weights
    assert again is not None
    assert torch.equal(found.weights, again)


def test_nothing_is_rated_unasked_or_where_a_user_gave_the_outliers(prepared: FitData) -> None:
    assert rated(prepared, "off") is prepared
    given = prepare_fit_data(mean_color(), blue(), red(), seed=0)
    assert rated(given, "prefer") is given


def test_without_features_the_fit_goes_on_and_says_so(
    prepared: FitData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(**options: int) -> None:
        raise UserError("The weights of EfficientNet-Lite0 are missing.")

    monkeypatch.setattr("ifnormal.detectors.outlier_rating.feature_extractor", missing)
    found = rated(prepared, "prefer")
    assert found.weights is None
    assert found.facts["synthetic_outliers"]["quality"] == {
        "not_rated": "The weights of EfficientNet-Lite0 are missing."
    }


def test_few_normal_images_are_said_to_be_too_few(prepared: FitData) -> None:
    few = replace(prepared, normal=blue(9))
    reason = rated(few, "report").facts["synthetic_outliers"]["quality"]["not_rated"]
    assert reason.startswith("Synthetic outliers are rated by at least 20 normal images")


def test_many_normal_images_are_thinned(prepared: FitData, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepared.sources is not None
    monkeypatch.setattr("ifnormal.detectors.outlier_rating._MOST_NORMAL", 20)
    found = rate_outliers(prepared.normal, prepared.outliers[:3], prepared.sources[:3])
    rows = prepared.sources[:3]
    kept = torch.where(rows % 2 == 0, rows // 2, -1)
    same = rate_outliers(prepared.normal[::2], prepared.outliers[:3], kept)
    assert torch.equal(found.posterior, same.posterior)


def test_an_explainer_saves_what_was_found() -> None:
    explainer = Explainer(mean_color(), tiny(steps=1, outlier_quality="report"))
    explainer.fit(blue(60))
    facts = explainer.facts["synthetic_outliers"]
    assert facts["quality"]["rated"] == min(20, facts["flagged"])
    assert Explainer(mean_color(), tiny(outlier_quality="off")).editor.outlier_quality == "off"


def test_outliers_are_drawn_by_their_weights() -> None:
    weights = torch.zeros(len(red()))
    weights[[1, 3]] = torch.tensor([1.0, 3.0])
    images = TrainingImages.prepare(
        mean_color(), blue(), red(), 1, torch.device("cpu"), weights=weights
    )
    random = torch.Generator().manual_seed(0)
    drawn = images.draw(torch.ones(4000), random) - len(blue())
    assert set(drawn.tolist()) == {1, 3}
    assert float((drawn == 3).float().mean()) == pytest.approx(0.75, abs=0.03)
    normal = images.draw(torch.zeros(100), random)
    assert int(normal.max()) < len(blue())


def setup_of(count: int = 40) -> AnomalySetup:
    normal = blue(count)
    made = made_outliers(normal, 60, 0)
    some = normal[:20]
    return AnomalySetup(
        name="blue",
        normal="blue images",
        train_normal=normal,
        validation_normal=some,
        validation_anomalies=red(9),
        test_normal=some,
        test_anomalies=red(9),
        outliers=made.images,
        validation_outliers=red(9),
        outlier_sources=made.sources,
        outlier_masks=torch.ones(60, *normal.shape[2:], dtype=torch.bool),
    )


def test_a_detector_trains_with_useful_outliers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    setup = setup_of()
    quality = rate_outliers(setup.train_normal, setup.outliers, setup.outlier_sources)
    found = with_useful_outliers(setup)
    assert torch.equal(found.outliers, setup.outliers[~quality.is_useless])
    assert found.outlier_masks is not None
    assert found.outlier_sources is not None
    assert len(found.outlier_masks) == len(found.outlier_sources) == len(found.outliers)
    told = f"detector: {len(found.outliers)} of 60 synthetic outliers are useful"
    assert told in capsys.readouterr().err


def test_a_detector_is_not_trained_with_too_few_or_other_outliers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="Only synthetic outliers are rated"):
        with_useful_outliers(replace(setup_of(), outlier_sources=None))
    monkeypatch.setattr("ifnormal.detectors.outlier_rating._MOST_OUTLIERS", 5)
    with pytest.raises(UserError, match="of 5 synthetic outliers are useful, too few"):
        with_useful_outliers(setup_of())
