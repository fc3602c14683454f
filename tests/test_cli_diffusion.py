"""A diffusion model from the command line: trained on folders, used by explain, and told apart."""

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal import cli
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import png_bytes
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import ExplainConfig
from ifnormal.explainers.diffusion.loading import save_backbone
from ifnormal.explanation.document import read_document
from ifnormal.explanation.explanation import Explanation
from ifnormal.training import stage
from tiny_backbones import PROMPTS, SIDE, scheduler, tiny_backbone

pytestmark = pytest.mark.usefixtures("planned_once")

FAST = ("--diffusion.inversion.steps", "4", "--diffusion.inversion.mask.maps", "1")
SMALL = (*FAST, "--diffusion.inversion.concepts", "2")
# Of each image: 2 calls for the mask, 4 there, 2 concepts x 4 steps x 2 prompts back.
COST = "Each image takes 22 calls of the U-net"
LATENT = (
    *("--diffusion.latent.steps", "4", "--diffusion.latent.checkpoint-every", "2"),
    *("--diffusion.latent.batch-size", "2", "--diffusion.latent.width", "16"),
    *("--diffusion.latent.concepts", "2", "--diffusion.latent.discriminator-width", "8"),
    *("--diffusion.latent.diffedit.steps", "4", "--diffusion.latent.diffedit.mask.maps", "1"),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark normal images, red ones that the detector flags, and a diffusion model."""
    folder, random = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for name, count, low in (("normal", 30, 0), ("red", 3, 180), ("outliers", 12, 180)):
        (folder / name).mkdir()
        for n in range(count):
            image = torch.randint(0, 70, (3, SIDE, SIDE), generator=random)
            image[0] += low
            (folder / name / f"{n}.png").write_bytes(png_bytes(image.to(torch.uint8)))
    save_backbone(tiny_backbone(), folder / "backbone", scheduler())
    return folder


def given(images: Path) -> tuple[str, str]:
    """Outliers, for whoever need not wait for synthetic ones."""
    return ("--outliers", str(images / "outliers"))


def explain(images: Path, out: Path, *more: str, generator: str = "inversion") -> int:
    return cli.main(
        [
            "explain",
            str(images / "red"),
            *("--detector", "users_models:redness", "--normal", str(images / "normal")),
            *("--generator", generator, "--backbone", str(images / "backbone")),
            *("--prompt", "a sign", "--out", str(out)),
            *more,
        ]
    )


@dataclass(frozen=True)
class Finished:
    """A folder of counterfactuals that nobody may change, and what was printed on the way."""

    out: Path
    told: str

    def copy(self, tmp_path: Path) -> Path:
        copytree(self.out, tmp_path / "out")
        return tmp_path / "out"


@pytest.fixture(scope="module")
def finished(
    images: Path, planned_once: None, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    out, told = tmp_path_factory.mktemp("finished") / "out", StringIO()
    with redirect_stdout(told):
        assert explain(images, out, *SMALL) == 0
    return Finished(out, told.getvalue())


@pytest.fixture(scope="module")
def broken_off(
    images: Path, planned_once: None, few_synthetic: None, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Explained by G′, but stopped after the first checkpoint."""
    save, out = stage._save, tmp_path_factory.mktemp("broken off") / "out"

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise UserError("Stopped.")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage, "_save", save_and_stop)
        assert explain(images, out, *LATENT, generator="latent") == 2
    return Finished(out, "")


def test_images_are_explained_and_told_what_it_costs(images: Path, finished: Finished) -> None:
    out = finished.out
    assert "synthetic outliers.\n" in finished.told, "nothing learned from them"
    assert COST in finished.told
    explanation = Explanation.load(out)
    assert explanation.counterfactuals.shape == (3, 2, 3, SIDE, SIDE)
    document = read_document(out)
    assert document.head.facts["generator"] == "inversion"
    assert document.head.facts["prompts"] == ["a sign", "a sign"]
    assert (out / "report.html").exists()
    saved = read_json(out / "explainer" / "explainer.json")
    assert saved["backbone"] == str((images / "backbone").resolve())


def test_several_prompts_say_how_many_concepts_there_are(images: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert explain(images, tmp_path, *FAST, *given(images), "--prompt", "speed limit 30") == 0
    head = read_document(tmp_path).head
    assert (head.concepts, head.facts["prompts"]) == (2, ["a sign", "speed limit 30"])


def test_a_detector_that_has_its_own_threshold_is_explained_too(
    images: Path, finished: Finished, tmp_path: Path
) -> None:
    calibrated = finished.out / "explainer" / "detector"
    options = (*SMALL, *given(images), "--detector", str(calibrated))
    assert explain(images, tmp_path, *options, "--trust") == 0
    first, second = Explanation.load(finished.out), Explanation.load(tmp_path)
    assert torch.equal(first.counterfactuals, second.counterfactuals)


def test_a_saved_explainer_is_used_again(
    images: Path, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = finished.copy(tmp_path), tmp_path / "again"
    assert explain(images, out, *SMALL) == 0
    assert COST in capsys.readouterr().out
    arguments = ["explain", str(images / "red"), "--explainer", str(out), "--trust"]
    assert cli.main([*arguments, "--out", str(again)]) == 0
    assert COST in capsys.readouterr().out
    first, second = Explanation.load(out), Explanation.load(again)
    assert torch.equal(first.counterfactuals, second.counterfactuals)


def test_a_saved_explainer_keeps_its_options(
    images: Path, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", str(images / "red"), "--explainer", str(finished.out), *SMALL]
    assert cli.main([*arguments, "--out", str(tmp_path / "again")]) == 2
    assert "--diffusion cannot change --explainer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "source"),
    [((), "something else"), (("--source-prompt", ""), ""), (("--source-prompt", "red"), "red")],
    ids=["own", "none", "given"],
)
def test_the_word_of_the_backbone_gives_way(
    images: Path, tmp_path: Path, more: tuple[str, ...], source: str
) -> None:
    backbone, out = tmp_path / "backbone", tmp_path / "out"
    copytree(images / "backbone", backbone)
    write_json(backbone / "ifnormal.json", {"prompts": PROMPTS})
    options = (*SMALL, *given(images), "--backbone", str(backbone), *more)
    for _ in range(2):
        assert explain(images, out, *options) == 0
        assert read_json(out / "explainer" / "explainer.json")["source"] == source


def test_no_word_is_an_option_as_well() -> None:
    with pytest.raises(UserError, match="--source-prompt is of a diffusion model"):
        ExplainConfig(source_prompt="")


def test_the_same_folder_takes_the_same_options_of_the_method(
    images: Path, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = finished.copy(tmp_path), ("--diffusion.inversion.steps", "5")
    assert explain(images, out, *SMALL, "--diffusion.latent.steps", "9") == 0, "of another method"
    assert explain(images, out, *SMALL, *other) == 2
    assert "begun with diffusion.inversion.steps 4, not 5" in capsys.readouterr().err
    assert explain(images, out, *SMALL, *other, *given(images), "--fresh") == 0


@pytest.mark.parametrize(("more", "left"), [((), 2), (("--fresh",), 4)], ids=["again", "fresh"])
def test_a_training_that_was_broken_off_goes_on(
    images: Path,
    broken_off: Finished,
    tmp_path: Path,
    more: tuple[str, ...],
    left: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, step, done = broken_off.copy(tmp_path), stage._step, set()

    def counted(*arguments: Any) -> torch.Tensor:
        done.add(arguments[-1])
        return step(*arguments)

    monkeypatch.setattr(stage, "_step", counted)
    assert explain(images, out, *LATENT, *more, generator="latent") == 0
    assert len(done) == left
    assert "outliers; the explainer learned from these." in capsys.readouterr().out
    assert Explanation.load(out).counterfactuals.shape == (3, 2, 3, SIDE, SIDE)


def test_a_training_does_not_go_on_with_other_options(
    images: Path, broken_off: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = broken_off.copy(tmp_path)
    assert explain(images, out, *LATENT, "--seed", "1", generator="latent") == 2
    assert "was begun with explain.seed 0, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--generator", "pixel"), "--backbone is of a diffusion model"),
        (("--refine",), "cannot refine its counterfactuals; leave refine out"),
        (("--prompt", "b", "--prompt", "c", *SMALL), "3 prompts for 2 concepts"),
        (("--backbone", "nowhere"), "nowhere is neither a folder nor owner/name"),
    ],
)
def test_bad_options_are_told_in_a_sentence(
    images: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain(images, tmp_path, *more) == 2
    assert words in capsys.readouterr().err


def test_a_backbone_is_trained_on_folders(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "train-backbone",
        *("--normal", str(images / "normal"), "--outliers", str(images / "red")),
        *("--prompt", "dark", "--size", "16", "--out", str(tmp_path / "own")),
        *("--backbone.steps", "2", "--backbone.autoencoder-steps", "2"),
        *("--backbone.batch-size", "2", "--backbone.autoencoder-batch-size", "2"),
        *("--backbone.autoencoder-widths", "[8, 16]", "--backbone.widths", "[16, 16]"),
        *("--backbone.text-width", "16", "--backbone.heads", "2"),
    ]
    assert cli.main(arguments) == 0
    assert "33 images" in capsys.readouterr().out
    facts = read_json(tmp_path / "own" / "ifnormal.json")
    assert facts["normal"] == "dark"
    assert facts["prompts"] == ["", "dark", "something else"]
    assert cli.main(["train-backbone", "--normal", str(images / "normal")]) == 2
    assert "Say what is normal in a word or two" in capsys.readouterr().err
