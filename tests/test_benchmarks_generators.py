"""Experiments with every generator: keys of runs, their options and tables, and runs in small."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

import tiny_experiments as tiny
from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.experiment import BenchRun, Finished, Selection, Workplace
from ifnormal.benchmarks.experiments import EXPERIMENTS, baselines, paper
from ifnormal.benchmarks.options import configs_of
from ifnormal.benchmarks.sweep import planned
from ifnormal.benchmarks.sweep_folder import bench_run, read_plan, remember_plan
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.config.editors import EDITORS

BOTH = Selection(only="cmnist/one+cyan", detectors=("bce",), generators=("pixel", "inversion"))
TINY_DIFFUSION = {
    **{f"backbone.{name}": 2 for name in ("steps", "batch_size", "autoencoder_steps")},
    "backbone.autoencoder_batch_size": 2,
    "backbone.autoencoder_widths": [8, 16],
    "backbone.widths": [16, 16],
    "backbone.text_width": 16,
    "backbone.heads": 2,
    "diffusion.inversion.steps": 2,
    "diffusion.inversion.attempts": 1,
    "diffusion.diffedit.steps": 2,
    "diffusion.latent.steps": 2,
    "diffusion.latent.images": 8,
    "diffusion.latent.batch_size": 2,
    "diffusion.latent.diffedit.steps": 2,
}


class TestKey:
    def test_of_a_pixel_run_is_that_of_runs_without_generators(self) -> None:
        changed = {"fit.steps": 30}
        run = BenchRun(
            "paper", "mnist/one-vs-rest/7", "bce", 3, options=changed, given=changed, content="abc"
        )
        assert run.key == "mnist-one-vs-rest-7_bce_default_seed3_small_02270da1"

    def test_of_another_generator_names_it(self) -> None:
        run = BenchRun("paper", "mnist/one-vs-rest/7", "bce", 0)
        other = replace(run, generator="inversion")
        assert other.key.startswith("mnist-one-vs-rest-7_bce_inversion_default_seed0_small_")
        assert str(other) == "mnist/one-vs-rest/7 bce inversion seed 0"
        assert str(run) == "mnist/one-vs-rest/7 bce seed 0"

    def test_plans_without_generators_are_read(self, tmp_path: Path) -> None:
        (pixel, inversion) = planned("paper", BOTH)
        remember_plan(tmp_path, "paper", [pixel], {})
        saved = read_json(tmp_path / "plan.json")
        del saved["runs"][0]["generator"]
        write_json(tmp_path / "plan.json", saved)
        assert read_plan(tmp_path).runs == (pixel,)
        plan = remember_plan(tmp_path, "paper", [inversion], {})
        assert plan.runs == (pixel, inversion), "the one does not take the other's place"
        assert bench_run(asdict(inversion)) == inversion


class TestPlan:
    def test_without_a_word_all_is_made_by_the_pixel_generator(self) -> None:
        for name in set(EXPERIMENTS) - {"diffusion"}:
            assert {run.generator for run in EXPERIMENTS[name].plan(Selection())} == {"pixel"}

    @pytest.mark.parametrize("name", ["paper", "figure9", "bias", "planted", "access"])
    def test_every_generator_makes_the_same_runs(self, name: str) -> None:
        plan = EXPERIMENTS[name].plan(Selection(generators=tuple(EDITORS)))
        of = {
            generator: {replace(run, generator="pixel").key for run in plan}
            for generator in EDITORS
            if any(run.generator == generator for run in plan)
        }
        assert list(of) == list(EDITORS)
        assert len({frozenset(keys) for keys in of.values()}) == 1

    def test_methods_of_the_diffusion_experiment_are_chosen_by_their_generator(self) -> None:
        chosen = planned("diffusion", Selection(only="gtsrb/*", generators=("latent", "diffedit")))
        assert {run.variant for run in chosen} == {
            *("diffedit-3.0", "diffedit-1.5", "pipeline", "latent"),
        }

    @pytest.mark.parametrize(
        ("name", "generator", "sentence"),
        [
            ("paper", "gan", "There is no generator 'gan'; --generators takes pixel, inversion"),
            ("theory", "inversion", "theory has no runs with the generator inversion; leave it"),
            (tiny.NAME, "latent", "has no runs with the generator latent"),
        ],
    )
    def test_mistakes_are_told(self, name: str, generator: str, sentence: str) -> None:
        with pytest.raises(UserError, match=sentence):
            planned(name, Selection(generators=("pixel", generator)))


class TestOptions:
    def test_all_generators_make_as_many_counterfactuals(self) -> None:
        pixel, inversion = planned("paper", BOTH, {"fit.concepts": 3})
        assert configs_of(pixel, None).diffusion is None
        config = configs_of(inversion, None)
        assert config.diffusion is not None
        assert config.diffusion.inversion.concepts == config.fit.concepts == 3
        told = replace(inversion, options={"diffusion.inversion.concepts": 5})
        config = configs_of(told, None)
        assert config.diffusion is not None
        assert config.diffusion.inversion.concepts == 5

    def test_a_family_has_a_diffusion_model_of_its_own(self) -> None:
        run = BenchRun("paper", "cifar10/one-vs-rest/ship", "bce", 0, generator="latent")
        backbone = configs_of(run, None).backbone
        assert backbone is not None
        assert (backbone.steps, backbone.autoencoder_steps) == (2500, 1200)


class TestTables:
    def test_have_a_column_or_row_a_generator_where_there_are_several(self, tmp_path: Path) -> None:
        plan = planned("paper", BOTH)
        done = [
            Finished(run, {"normality_auroc": 50.0 + n}, tmp_path) for n, run in enumerate(plan)
        ]
        one, _, figures, setups = paper.tables(plan, done)
        assert list(one.columns) == ["BCE, pixel", "BCE, inversion"]
        assert [cell.mean for cell in one.rows["C-MNIST, several"]] == [50, 51]
        assert list(figures.rows) == [
            "C-MNIST, several, BCE, pixel",
            "C-MNIST, several, BCE, inversion",
        ]
        assert list(setups.rows) == [
            "cmnist/one+cyan, BCE, pixel",
            "cmnist/one+cyan, BCE, inversion",
        ]
        one, *_ = paper.tables(plan[:1], done)
        assert list(one.columns) == ["BCE"]

    def test_baselines_show_other_generators_beside_the_method(self) -> None:
        plan = planned("baselines", replace(BOTH, generators=("pixel", "inversion", "latent")))
        (table,) = baselines.EXPERIMENT.tables(plan, [])
        rows = list(table.rows)
        assert rows[0] == "the method"
        assert "nearest normal image" in rows
        assert rows[-2:] == ["the method, generator inversion", "the method, generator latent"]
        assert all(cells[0].expected == 1 for cells in table.rows.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "generator"),
    [
        ("paper", "inversion"),
        ("paper", "diffedit"),
        ("paper", "latent"),
        ("baselines", "inversion"),
    ],
)
def test_a_tiny_run_from_end_to_end(name: str, generator: str, tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    pytest.importorskip("diffusers")
    variant = "method" if name == "baselines" else "default"
    options = {**tiny.COLORED_OPTIONS, **TINY_DIFFUSION}
    run = BenchRun(name, "colored-mnist", "bce", 0, variant, options=options, generator=generator)
    outcome = attempt(run, Workplace(tmp_path))
    assert outcome.state == "done", outcome
    folder = tmp_path / run.key
    saved = read_json(folder / "explainer" / "explainer.json")
    assert saved["method"] == generator
    assert Path(saved["backbone"]).parent.parent == (tmp_path / "shared" / "backbones").absolute()
    assert read_json(folder / "metrics.json")["validity"]
    assert (folder / "report.html").exists()
