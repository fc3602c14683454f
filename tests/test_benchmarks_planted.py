"""Planted reasons: optima against brute force, verdicts by hand, setups that plant one reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ifnormal.benchmarks.experiment import Finished, Selection, Workplace
from ifnormal.benchmarks.experiments.planted import EXPERIMENT
from ifnormal.benchmarks.options import configs_of
from ifnormal.benchmarks.planted import verdict
from ifnormal.benchmarks.planted.analytic import (
    FULL_RED,
    PATCH,
    AnalyticDetector,
    analytic_signs,
    darkness,
    darkness_optimum,
    patch_brightness,
    red_share,
    redness,
    redness_optimum,
)
from ifnormal.benchmarks.planted.background import digits_on_grounds
from ifnormal.benchmarks.planted.boundary import least_edits, without_faint
from ifnormal.benchmarks.planted.coloured_digits import (
    NORMAL_COLOR,
    NORMAL_DIGIT,
    Reason,
    coloured_digits,
)
from ifnormal.benchmarks.planted.figures import heat_figures
from ifnormal.benchmarks.planted.kinds import KINDS
from ifnormal.benchmarks.planted.planted_run import MATERIAL
from ifnormal.benchmarks.planted.watermark import mark, watermark_region
from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from known_detectors import KnownDetector

DATA = os.environ.get("IFNORMAL_DATA")
needs_signs = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "gtsrb").is_dir(), reason="needs gtsrb in IFNORMAL_DATA"
)


def test_the_dark_patch_costs_what_it_lacks_however_it_is_brightened() -> None:
    images = torch.full((1, 3, 16, 16), 0.2)
    lacking = darkness_optimum(images, 0.5)
    assert lacking.item() == pytest.approx(3 * 64 * 0.3, rel=1e-5)
    for columns in (slice(4, 12), slice(4, 8)):  # spread evenly, or over half of the patch
        edited = images.clone()
        place = edited[:, :, PATCH[0], columns]
        place += 0.3 * 64 / (8 * place.shape[3])
        assert darkness(edited).item() == pytest.approx(0.5, abs=1e-6)
        assert (edited - images).abs().sum().item() == pytest.approx(lacking.item(), rel=1e-5)
    assert darkness_optimum(torch.ones(1, 3, 16, 16), 0.5).item() == 0


def _colours(step: float) -> Iterator[tuple[float, ...]]:
    values = [step * i for i in range(round(1 / step) + 1)]
    return product(values, repeat=3)


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_edit_of_red_is_what_brute_force_finds(seed: int) -> None:
    """Two pixels, all colours on a grid of fifths: exact but for the one pixel in part."""
    rng, step = torch.Generator().manual_seed(seed), 0.2
    image = torch.randint(0, 6, (1, 3, 1, 2), generator=rng).float() * step
    image[:, 0] = image[:, 0].clamp_min(0.8)
    image[:, 1:] = image[:, 1:].clamp_max(0.4)
    candidates = torch.tensor(list(_colours(step)))  # (216, 3)
    pairs = torch.cartesian_prod(torch.arange(216), torch.arange(216))
    edited = torch.stack([candidates[pairs[:, 0]], candidates[pairs[:, 1]]], 2)[:, :, None]
    cost, reached = (edited - image).abs().sum((1, 2, 3)), redness(edited)
    for level in (0.0, 0.25, 0.5):
        best = cost[reached <= level + 1e-6].min().item()
        optimum = redness_optimum(image, level).item()
        assert optimum <= best + 1e-5
        # What a pixel in part may lack: all of that pixel's dead depth.
        excess = (image[:, 0] - image[:, 1:].amax(1)).max().item()
        assert best <= optimum + max(excess - FULL_RED, 0) + 1e-5


def test_red_is_taken_from_the_least_red_pixels_first() -> None:
    image = torch.zeros(1, 3, 1, 4)
    image[0, 0, 0] = torch.tensor([0.2, 0.4, 0.8, 0.0])
    assert redness(image).item() == pytest.approx((0.5 + 1 + 1) / 4)
    assert redness_optimum(image, 1 / 4).item() == pytest.approx(0.6)  # the first two
    assert redness_optimum(image, 0.0).item() == pytest.approx(1.4)
    assert redness_optimum(image, 0.9).item() == 0


def test_no_random_edit_beats_the_optimum() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 16, 16, generator=rng).expand(400, -1, -1, -1)
    noise = torch.randn(400, 3, 16, 16, generator=rng) * torch.rand(400, 1, 1, 1, generator=rng)
    edited = (images + noise).clamp(0, 1)
    cost = (edited - images).abs().sum((1, 2, 3))
    for value, optimum in ((darkness, darkness_optimum), (redness, redness_optimum)):
        assert (optimum(images, value(edited)) <= cost + 1e-3).all()


@pytest.mark.parametrize("detector", [patch_brightness((3, 16, 16)), red_share((3, 16, 16))])
def test_formulas_are_detectors_with_a_gradient(detector: object) -> None:
    images = torch.rand(5, 3, 16, 16, requires_grad=True)
    log_odds, features = detector.inspect(images)  # type: ignore[attr-defined]
    (gradient,) = torch.autograd.grad(log_odds.sum(), images)
    assert gradient.abs().sum() > 0
    assert features.shape == (5, 48)
    value = detector.value(images)  # type: ignore[attr-defined]
    flagged = detector(images) > detector.threshold  # type: ignore[attr-defined, operator]
    assert torch.equal(flagged, value > detector.level)  # type: ignore[attr-defined]


def test_exactly_the_planted_attribute_has_to_become_normal() -> None:
    true = {"digit": torch.tensor([7]), "color": torch.tensor([0])}
    seen = {
        #  recoloured, redrawn, both, junk digit, nothing, other colour
        "digit": torch.tensor([[7, 1, 1, -1, 7, 7]]),
        "color": torch.tensor([[3, 0, 3, 3, 0, 4]]),
    }
    by_colour = verdict.changed_only_one(seen, true, {"color": (3,)})
    assert by_colour.tolist() == [[True, False, False, False, False, False]]
    by_shape = verdict.changed_only_one(seen, true, {"digit": (1,)})
    assert by_shape.tolist() == [[False, True, False, False, False, False]]
    either = verdict.changed_only_one(seen, true, {"digit": (1,), "color": (3,)})
    assert either.tolist() == [[True, True, False, False, False, False]]


def test_a_watermark_has_to_be_there_and_nothing_else_to_change() -> None:
    before = torch.randint(40, 200, (2, 3, 32, 32), dtype=torch.uint8)
    region = watermark_region(32, 32).expand(2, -1, -1)
    assert region[0].sum() == 36
    ideal = mark(before)
    assert torch.equal(ideal[:, :, ~region[0]], before[:, :, ~region[0]])
    elsewhere = ideal.clone()
    elsewhere[:, :, 2:5, 2:5] += 55
    faint = ideal.clone()
    faint[:, :, :20] += 20
    half = ((before.float() + ideal.float()) / 2).to(torch.uint8)
    after = torch.stack([ideal, elsewhere, faint, half, before], 1)
    assert verdict.undone(before, after, region, ideal)[0].tolist() == [
        *(True, True, True, False, False)
    ]
    assert verdict.untouched(before, after, region)[0].tolist() == [True, False, True, True, True]


def test_changes_beside_the_region_count_although_few_of_their_pixels_are_outside() -> None:
    before = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[:, :, :4] = True
    after = before.clone()
    after[:, :, :, 4] = 255
    # A block whose last column is the changed one: a third of it is outside, all of that changed.
    assert verdict.largest_change(before, after[:, None], region).item() == pytest.approx(1)
    assert verdict.largest_change(before, before[:, None], region).item() == 0


def test_shares_and_sizes_by_hand() -> None:
    weights, region = (
        torch.tensor([[[1, 3], [0, 0]]]),
        torch.tensor([[[False, True], [True, True]]]),
    )
    assert verdict.share_inside(weights, region).item() == pytest.approx(0.75)
    assert verdict.share_inside(0 * weights, region).isnan().all()
    assert verdict.times_chance(weights, region).item() == pytest.approx(1)
    before = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    after = torch.tensor([[[[[255, 51], [0, 0]]]]], dtype=torch.uint8)
    assert verdict.size(before, after).item() == pytest.approx(1.2)


def test_heat_in_the_watermark_is_told_by_what_chance_would_have() -> None:
    region = watermark_region(32, 32).expand(2, -1, -1)
    anywhere, there = torch.ones(2, 32, 32), 7.0 * region
    there[1] = 0  # a map that is 0 everywhere says nothing
    found = heat_figures({"gradient": anywhere, "own": there}, region)
    assert found["heat_gradient"] == pytest.approx(1)
    assert found["heat_own"] == pytest.approx(32 * 32 / 36)
    assert heat_figures({"gradient": anywhere}, None) == {"heat_gradient": None}


@pytest.mark.parametrize("reason", ["colour", "shape", "either"])
def test_only_the_planted_attribute_tells(reason: Reason) -> None:
    planted = coloured_digits(reason, None, 0)
    setup = planted.setup
    known = setup.attributes["test_anomalies"]
    assert len(setup.test_anomalies) == 200
    is_cyan, is_one = known["color"] == NORMAL_COLOR, known["digit"] == NORMAL_DIGIT
    if reason == "colour":
        assert not is_cyan.any()
        assert is_one.any()
        assert planted.ideal is not None
        assert planted.ideal[:, 0].max() == 0  # cyan has no red
        light = planted.ideal.amax(1)
        assert torch.equal(light, setup.test_anomalies.amax(1))
    if reason == "shape":
        assert not is_one.any()
        assert is_cyan.any()
    if reason == "either":
        assert not is_one.any()
        assert not is_cyan.any()
    assert 0.3 < len(setup.train_normal) / (len(setup.train_normal) + len(setup.outliers)) < 0.7


def test_backgrounds_leave_the_digit_alone() -> None:
    planted = digits_on_grounds(None, 0)
    assert planted.ideal is not None
    assert planted.region is not None
    digit = ~planted.region[:, None].expand(-1, 3, -1, -1)
    apart = (planted.ideal.int() - planted.setup.test_anomalies.int()).abs()
    assert apart[digit].max() <= 26  # a tenth of the background shines through
    assert apart[~digit].float().mean() > 30
    red = planted.setup.test_anomalies.float().mean((2, 3))
    assert (red[:, 0] > red[:, 2]).all()


class _Answers:
    """An explainer whose answer to α moves the image that far to black."""

    def __init__(self, detector: KnownDetector) -> None:
        self.detector = detector

    def edit(self, images: Tensor, target: Tensor, concept: int) -> Tensor:
        return images * target.view(-1, 1, 1, 1)


def test_the_least_edit_is_the_largest_accepted_alpha() -> None:
    weights = torch.full((1, 4, 4), 1 / 16)
    detector = KnownDetector(40 * weights, offset=20)  # flags a mean brightness above a half
    images = torch.full((3, 1, 4, 4), 200, dtype=torch.uint8)
    images[2] = 255
    zero = torch.zeros(3, 1, 1, 4, 4, dtype=torch.uint8)
    flagged = zero.clone()
    flagged[1] = 200
    least = least_edits(_Answers(detector), images, flagged)  # type: ignore[arg-type]
    assert least[0].unique().tolist() == [127]
    assert least[1].unique().tolist() == [200]  # was not accepted, stays as it is
    assert least[2].unique().tolist() == [127]
    assert zero.sum() == 0


def test_faint_changes_are_left_out() -> None:
    images = torch.full((1, 1, 1, 4), 100, dtype=torch.uint8)
    edited = torch.tensor([[[[95, 94, 106, 100]]]], dtype=torch.uint8)
    assert without_faint(images, edited, 5).flatten().tolist() == [100, 94, 106, 100]
    assert torch.equal(without_faint(images, edited, 0), edited)


def test_signs_need_the_data_and_say_so() -> None:
    with pytest.raises(UserError, match="gtsrb"):
        analytic_signs("patch", None, 0)


@pytest.mark.slow
@needs_signs
def test_formulas_split_the_signs_and_other_things_stay() -> None:
    planted = analytic_signs("red", Path(str(DATA)), 0)
    setup, detector = planted.setup, planted.detector
    assert isinstance(detector, AnalyticDetector)
    normal, outliers = (
        detector(x[:500].float() / 255) for x in (setup.test_normal, setup.outliers)
    )
    assert (normal <= 0.5).all()
    assert (outliers > 0.5).all()
    assert (detector.value(setup.test_anomalies.float() / 255) > detector.level + 0.03).all()


def test_plan_and_tables_name_every_kind(tmp_path: Path) -> None:
    planned = EXPERIMENT.plan(Selection())
    assert [run.setup for run in planned] == [kind.setup for kind in KINDS.values()]
    assert [run.setup for run in EXPERIMENT.plan(Selection(only="planted/water*"))] == [
        "planted/watermark",
        "planted/watermark-removed",
    ]
    one = {"exposed": [90.0], "validity": 100.0, "edit_inside": None, "ratio_least": 1.2}
    finished = [Finished(run, one, tmp_path) for run in planned if run.detector == "formula"]
    exposed, heat, ratios = EXPERIMENT.tables(planned, finished)
    assert len(exposed.rows) == len(KINDS)
    nowhere = {KINDS[name].title for name in ("colour", "shape", "either")}
    assert set(heat.rows) == set(exposed.rows) - nowhere
    assert [cells[0].runs for cells in exposed.rows.values()] == [0] * 6 + [1] * 2
    assert exposed.rows[KINDS["patch"].title][3].text == "does not apply"
    assert list(ratios.columns)[:2] == [
        "generator, α = 0",
        "largest accepted α, faint changes left out",
    ]
    assert [cells[3].mean for cells in ratios.rows.values()] == [1.2, 1.2]
    for table in (exposed, ratios):
        assert "patch, red: fit.concepts 1 instead of 2, fit.weights.gan 0.5" in table.notes[-1]


def test_other_detectors_are_planned_where_one_is_trained() -> None:
    planned = EXPERIMENT.plan(Selection(only="planted/[pw]*", detectors=("bce", "hsc")))
    assert [(run.setup, run.detector) for run in planned] == [
        ("planted/watermark", "bce"),
        ("planted/watermark", "hsc"),
        ("planted/watermark-removed", "bce"),
        ("planted/watermark-removed", "hsc"),
        ("planted/patch", "formula"),
    ]
    rows = EXPERIMENT.tables(planned, [])[0].rows
    assert KINDS["watermark"].title + ", HSC" in rows
    assert len(rows) == 5


def test_a_run_is_known_by_the_options_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, only = KINDS["patch"], Selection(only="planted/patch")
    (run,) = EXPERIMENT.plan(only)
    options = configs_of(run, None)
    assert options.fit.weights.minimality == kind.tuned["fit.weights.minimality"]
    assert options.fit.steps == kind.small_steps
    assert options.judge_steps == 600
    monkeypatch.setitem(KINDS, "patch", replace(kind, tuned={}))
    assert EXPERIMENT.plan(only)[0].key != run.key


def test_setups_without_signs_are_known_to_lack_them(tmp_path: Path) -> None:
    assert list(EXPERIMENT.missing(tmp_path)) == [
        *("planted/watermark", "planted/watermark-removed", "planted/patch", "planted/red")
    ]
    (tmp_path / "gtsrb").mkdir()
    assert EXPERIMENT.missing(tmp_path), "an empty folder is no data"
    (tmp_path / "gtsrb" / "train-00000-of-00001.parquet").touch()
    assert not EXPERIMENT.missing(tmp_path)


def test_every_kind_has_its_material() -> None:
    assert list(MATERIAL) == list(KINDS)


@pytest.mark.slow
@needs_signs
@pytest.mark.filterwarnings("ignore:.*captum.*")
@pytest.mark.parametrize("name", ["either", "watermark", "patch"])
def test_a_whole_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlxtend")
    monkeypatch.setattr("ifnormal.benchmarks.heatmaps.autoencoder._STEPS", 2)
    monkeypatch.setattr("ifnormal.benchmarks.heatmaps.attribution._STEPS", 2)
    shortest = {
        "detector.steps": 3,
        "detector.width": 4,
        "fit.steps": 2,
        "fit.batch_size": 8,
        "fit.generator.width": 4,
        "fit.generator.inner_blocks": 1,
        "fit.discriminator_width": 4,
        "judge_steps": 3,
    }
    (run,) = EXPERIMENT.plan(Selection(only=f"planted/{name}"))
    run = replace(run, options={**run.options, **shortest})
    folder = tmp_path / run.key
    write_json(folder / "config.json", {})
    figures = EXPERIMENT.perform(run, folder, Workplace(tmp_path, Path(str(DATA))))
    place = name != "either"
    assert (figures["heat_gradient"] is not None) == place
    assert ("heat_grad-cam" in figures) == (name != "patch")
    assert ("ratio" in figures) == (name == "patch")
    assert (folder / "preview.png").exists()
    assert (folder / "report.html").exists()
    assert (folder / "least" / "report.html").exists() == (name == "patch")
    assert not list(folder.rglob("metrics.json")), "the runner writes it last"
