"""A surrogate learns a black box, from the images that matter, and knows how well it did."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from black_boxes import QUICK, BlackBox
from ifnormal.common.compute import make_fabric
from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import SurrogateConfig
from ifnormal.detectors.black_box.distillation import Distillation
from ifnormal.detectors.black_box.mixing import mixed_images
from ifnormal.detectors.black_box.query_budget import BudgetPlan
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import in_batches
from known_detectors import COLOR, blue, mean_color, red


def distillation(box: BlackBox, config: SurrogateConfig = QUICK, seed: int = 0) -> Distillation:
    fabric = make_fabric("32-true")
    return Distillation(box, blue(60), red(60, seed=1), config, seed, fabric)


@pytest.fixture(scope="module")
def learned() -> tuple[BlackBox, Distillation]:
    box = BlackBox()
    taught = distillation(box, replace(QUICK, steps=80, width=8, batch_size=32, query_budget=1000))
    taught.begin()
    return box, taught


class TestBudgetPlan:
    @settings(max_examples=200, deadline=None)
    @given(
        budget=st.integers(100, 300_000),
        normal=st.integers(2, 100_000),
        outliers=st.integers(1, 100_000),
        size=st.sampled_from([768, 3072, 49152, 786432]),
    )
    def test_half_is_left_for_the_generators_outputs(
        self, budget: int, normal: int, outliers: int, size: int
    ) -> None:
        plan = BudgetPlan.make(budget, normal, outliers, size)
        assert plan.before + plan.fresh <= budget / 2
        assert 1 <= plan.normal <= normal - plan.held_out
        assert 1 <= plan.outliers <= outliers - plan.held_out
        assert min(plan.between, plan.held_out, plan.fresh) >= 0
        assert plan.between * size <= 2**29

    def test_all_training_images_where_they_are_few(self) -> None:
        plan = BudgetPlan.make(200_000, 5760, 12000, 3072)
        assert (plan.normal, plan.outliers, plan.held_out) == (5248, 11488, 512)
        assert (plan.between, plan.fresh) == (20_000, 1024)

    def test_both_kinds_where_they_are_many(self) -> None:
        plan = BudgetPlan.make(1000, 50_000, 50_000, 3072)
        assert (plan.normal, plan.outliers) == (150, 150)
        lopsided = BudgetPlan.make(1000, 20, 50_000, 3072)
        assert (lopsided.normal, lopsided.outliers) == (18, 282)


class TestImagesBetween:
    def made(self, images: Tensor, count: int, seed: int = 0) -> Tensor:
        return mixed_images(images, count, torch.Generator().manual_seed(seed))

    @pytest.mark.parametrize("count", [0, 1, 2, 7, 2050])
    def test_as_many_as_asked_for(self, count: int) -> None:
        made = self.made(red(5), count)
        assert made.shape == (count, *COLOR)
        assert made.dtype == torch.uint8

    def test_the_same_for_the_same_seed_only(self) -> None:
        images = torch.cat([red(9), blue(9)])
        assert torch.equal(self.made(images, 12), self.made(images, 12))
        assert not torch.equal(self.made(images, 12), self.made(images, 12, seed=1))

    def test_blends_and_pastes_of_black_and_white(self) -> None:
        images = torch.stack([torch.zeros(COLOR), torch.full(COLOR, 255)]).to(torch.uint8)
        made = self.made(images, 300).flatten(1)
        blends, pastes = made[0::3], made[1::3]
        assert (blends == blends[:, :1]).all()
        assert len(blends[:, 0].unique()) > 30
        assert set(pastes.unique().tolist()) == {0, 255}
        shares = (pastes != pastes[:, :1]).float().mean(1)
        assert 0.01 < shares[shares > 0].min() < shares.max() < 0.9

    def test_one_image_is_enough(self) -> None:
        one = red(1)
        assert torch.equal(self.made(one, 2), one.repeat(2, 1, 1, 1))  # blended, pasted with itself


class TestSurrogate:
    def test_it_imitates_the_black_box(self, learned: tuple[BlackBox, Distillation]) -> None:
        box, taught = learned
        images = torch.cat([red(40, seed=7), blue(40, seed=8)])
        real = in_batches(box.known, images)
        mine = in_batches(taught.surrogate, images)
        assert (mine - real).abs().mean() < 0.05
        assert ((mine > 0.5) == (real > 0.5)).all()

    def test_its_gradient_points_where_the_black_box_falls(
        self, learned: tuple[BlackBox, Distillation]
    ) -> None:
        images = to_float(red(8, seed=7)).requires_grad_(True)
        (gradient,) = torch.autograd.grad(learned[1].surrogate.inspect(images)[0].sum(), images)
        by_channel = gradient.mean((0, 2, 3))
        assert by_channel[0] > by_channel[1] > by_channel[2]

    def test_lessons_change_scores_and_no_feature(self) -> None:
        taught = distillation(BlackBox())
        taught.begin()
        surrogate, images = taught.surrogate, to_float(red(6, seed=3))
        scores, features = surrogate.inspect(images)
        first = surrogate.as_distilled().inspect(images)
        torch.testing.assert_close(first, (scores, features))
        for step in (2, 4):
            taught.refresh(red(20, seed=step), step, 10)
        after = surrogate.inspect(images)
        assert not torch.equal(after[0], scores)
        assert torch.equal(after[1], features)
        assert torch.equal(surrogate.as_distilled().inspect(images)[0], first[0])
        assert not any(weight.requires_grad for weight in surrogate.parameters())

    def test_scores_of_both_ways_to_ask(self) -> None:
        torch.manual_seed(0)
        surrogate, images = Surrogate.create(COLOR, 4, 0.5), to_float(red(3))
        torch.testing.assert_close(surrogate(images), surrogate.inspect(images)[0].sigmoid())


class Trap(BlackBox):
    """Blue is normal, but far more of it than any training image has is an anomaly."""

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        log_odds, features = super().inspect(images)
        return log_odds + 60 * (images[:, 2].mean((1, 2)) - 0.4).relu(), features


def all_blue(count: int, seed: int) -> Tensor:
    """More normal than normal: what a generator would come up with."""
    noise = torch.randint(200, 256, (count, *COLOR), generator=torch.Generator().manual_seed(seed))
    return blue(count, seed=seed).maximum(noise * torch.tensor([0, 0, 1])[:, None, None]).byte()


class TestRefresh:
    def test_an_exploited_surrogate_is_found_out_and_put_right(self) -> None:
        edited = all_blue(32, seed=5)
        config = replace(QUICK, steps=50, width=8, query_budget=3000)
        taught = distillation(Trap(), replace(config, refresh_steps=4, refresh_learning_rate=2e-3))
        taught.begin()
        taught.refresh(edited, 2, 40)
        first = dict(taught.figures)
        for step in range(4, 24, 2):
            taught.refresh(edited, step, 40)
        assert first["surrogate_fooled"] == 1
        assert taught.figures["surrogate_fooled"] == 0
        assert taught.figures["surrogate_error"] < first["surrogate_error"] / 2
        assert taught.report(all_blue(32, seed=15))["on_fresh_edits"]["agreement"] > 0.9

    @settings(max_examples=6, deadline=None)
    @given(
        budget=st.integers(100, 700),
        every=st.integers(1, 7),
        steps=st.integers(1, 20),
        batch=st.integers(1, 40),
    )
    def test_queries_keep_pace_with_the_steps(
        self, budget: int, every: int, steps: int, batch: int
    ) -> None:
        box = BlackBox()
        config = replace(QUICK, query_budget=budget, refresh_every=every, batch_size=8)
        taught = distillation(box, config)
        taught.begin()
        plan = taught.plan
        for step in range(1, steps + 1):
            taught.refresh(red(batch, seed=step), step, steps)
            share = (budget - plan.before - plan.fresh) * step / steps
            assert box.asked == taught.queries.used <= plan.before + share
        report = taught.report(red(60))
        assert report["queries"]["used"] == box.asked <= budget
        assert report["queries"]["fresh_edits"] == min(plan.fresh, 60)
        parts = {key: n for key, n in report["queries"].items() if key not in ("budget", "used")}
        assert sum(parts.values()) == box.asked

    def test_a_large_budget_asks_about_every_output(self) -> None:
        taught = distillation(BlackBox(), replace(QUICK, query_budget=5000, refresh_every=1))
        taught.begin()
        for step in range(1, 11):
            taught.refresh(red(30, seed=step), step, 10)
        assert taught.report(red(5))["queries"]["edits"] == 300

    def test_rather_what_it_calls_normal(self) -> None:
        taught = distillation(BlackBox())
        predicted = torch.linspace(-5, 5, 40)[torch.randperm(40)]
        chosen = taught._select_queries(predicted, 16)
        assert len(chosen.unique()) == 16
        assert (predicted[chosen[:8]] < 0).all()
        few_normal = torch.linspace(-1, 39, 41)
        assert set(range(8)) <= set(taught._select_queries(few_normal, 16).tolist())

    def test_errors_are_of_before_the_lesson(self, learned: tuple[BlackBox, Distillation]) -> None:
        box, taught = learned
        images = red(32, seed=21)
        error = (in_batches(taught.surrogate, images) - in_batches(box.known, images)).abs().mean()
        taught.refresh(images, 6, 6)
        assert taught.figures["surrogate_error"] == pytest.approx(float(error), abs=1e-5)


class TestReport:
    def test_held_out_images_are_not_learned_from(self) -> None:
        taught = distillation(BlackBox())
        for name in ("normal", "outliers"):
            learned_from = set(taught._known[name].rows.tolist())
            held_out = set(taught._known[f"{name} held out"].rows.tolist())
            assert held_out
            assert not learned_from & held_out

    def test_figures_are_those_of_the_images_given(
        self, learned: tuple[BlackBox, Distillation]
    ) -> None:
        box, taught = learned
        fresh = torch.cat([red(15, seed=31), blue(15, seed=32)])
        report = taught.report(fresh)
        real, mine = in_batches(box.known, fresh), in_batches(taught.surrogate, fresh)
        figures = report["on_fresh_edits"]
        assert figures["images"] == 30
        assert figures["error"] == pytest.approx(float((real - mine).abs().mean()), abs=1e-5)
        assert report["on_held_out"]["images"] == 12
        assert report["on_held_out"]["agreement"] == 1.0


class TestRefused:
    def test_a_detector_that_tells_nothing_apart(self) -> None:
        taught = distillation(BlackBox(mean_color(gain=0.0)))
        with pytest.raises(UserError, match="detector gives its outliers no higher scores"):
            taught.begin()

    def test_a_surrogate_that_has_not_learned(self) -> None:
        taught = distillation(BlackBox(), replace(QUICK, steps=1, learning_rate=1e-12))
        with torch.no_grad():
            for weight in taught.surrogate.scorer.parameters():
                weight.zero_()
        with pytest.raises(UserError, match=r"surrogate has not learned.*surrogate\.steps"):
            taught.begin()

    def test_several_processes(self) -> None:
        class Several:
            world_size = 2

        with pytest.raises(UserError, match="one process"):
            Distillation(BlackBox(), blue(), red(), QUICK, 0, Several())  # type: ignore[arg-type]

    def test_a_learning_rate_beyond_reason(self) -> None:
        taught = distillation(BlackBox(mean_color()), replace(QUICK, learning_rate=1e30))
        with pytest.raises(DivergenceError, match="surrogate"):
            taught.begin()
