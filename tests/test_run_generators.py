"""A run folder with another generator than the pixel one: every verb takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from ifnormal.cli import main
from ifnormal.common.storage import read_json
from ifnormal.explainers.diffusion.loading import save_backbone
from ifnormal.explainers.loading import load_explainer
from tiny_backbones import scheduler, tiny_backbone
from tiny_runs import SMALL, shrink

pytestmark = pytest.mark.usefixtures("planned_once")

QUICK = (
    *("--diffusion.inversion.steps", "2", "--diffusion.inversion.mask.maps", "1"),
    *("--diffusion.inversion.attempts", "1"),
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("backbone")
    save_backbone(tiny_backbone(), folder, scheduler())
    return str(folder)


def test_every_verb_of_a_run_takes_it(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    run = str(tmp_path / "run")
    inversion = ("--generator", "inversion", "--backbone", backbone, "--prompt", "one")
    more = ("--prompt", "cyan", *QUICK)
    assert main(["train-detector", "--run", run, *SMALL["train-detector"]]) == 0
    assert main(["fit", "--run", run, *inversion, *more]) == 0
    record = read_json(Path(run) / "config.json")
    assert record["editor"]["prompt"] == ["one", "cyan"]
    assert record["diffusion"]["inversion"]["concepts"] == 2, "as many as there are prompts"
    explainer = load_explainer(Path(run))
    assert explainer.editor.name == "inversion"
    assert explainer.editor.concept_names == ("one", "cyan")
    for verb in (["explain", "--run"], ["evaluate", "--run"], ["report"]):
        assert main([*verb, run]) == 0
    document = read_json(Path(run) / "explanation" / "explanation.json")
    assert document["facts"]["concept_names"] == ["one", "cyan"]
    metrics = read_json(Path(run) / "metrics.json")
    assert metrics["concept_accuracy"] is None, "nobody tells the concepts apart"
    assert len(metrics["validity"]) == 2
    assert "cyan" in (Path(run) / "report.html").read_text()
    # A checkpoint of another generator is none to resume from.
    (Path(run) / "explainer" / "latent generator.json").write_text("{}")
    assert main(["fit", "--run", run, "--resume", *SMALL["fit"]]) == 0
    assert read_json(Path(run) / "config.json")["images_per_s"] > 0
    assert main(["fit", "--run", run, "--resume", *inversion, *more]) == 0
    assert read_json(Path(run) / "config.json")["images_per_s"] is None, "nothing was trained"
    assert main(["fit", "--run", run, *SMALL["fit"]]) == 0
    assert read_json(Path(run) / "config.json")["editor"] is None, "the default again"


@pytest.mark.parametrize("verb", ["fit", "demo"])
def test_a_diffusion_model_has_to_be_named(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = {"fit": "--run", "demo": "--out"}[verb]
    assert main([verb, where, str(tmp_path), "--generator", "inversion"]) == 2
    assert "needs a diffusion model; name it with --backbone" in capsys.readouterr().err
    assert main([verb, where, str(tmp_path), "--generator", "magic"]) == 2
    assert "choose one of pixel, inversion" in capsys.readouterr().err
