"""A diffusion model from the command line: trained on folders, used by explain, and told apart."""

from pathlib import Path
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

FAST = ("--diffusion.inversion.steps", "4", "--diffusion.inversion.mask.maps", "1")
SMALL = (*FAST, "--diffusion.inversion.concepts", "2")
LATENT = (
    *("--diffusion.latent.steps", "4", "--diffusion.latent.checkpoint-every", "2"),
    *("--diffusion.latent.batch-size", "2", "--diffusion.latent.width", "16"),
    *("--diffusion.latent.concepts", "2", "--diffusion.latent.discriminator-width", "8"),
    *("--diffusion.latent.diffedit.steps", "4", "--diffusion.latent.diffedit.mask.maps", "1"),
)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Dark normal images, and red ones that the detector flags."""
    random = torch.Generator().manual_seed(0)
    for name, count, low in (("normal", 30, (0, 0, 0)), ("red", 3, (180, 0, 0))):
        (tmp_path / name).mkdir()
        for n in range(count):
            image = torch.randint(0, 70, (3, SIDE, SIDE), generator=random)
            image += torch.tensor(low)[:, None, None]
            (tmp_path / name / f"{n}.png").write_bytes(png_bytes(image.to(torch.uint8)))
    save_backbone(tiny_backbone(), tmp_path / "backbone", scheduler())
    return tmp_path


def explain(folders: Path, *more: str, generator: str = "inversion") -> int:
    return cli.main(
        [
            "explain",
            str(folders / "red"),
            *("--detector", "users_models:redness", "--normal", str(folders / "normal")),
            *("--generator", generator, "--backbone", str(folders / "backbone")),
            *("--prompt", "a sign", "--out", str(folders / "out")),
            *more,
        ]
    )


def test_images_are_explained_and_told_what_it_costs(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(folders, *SMALL) == 0
    told = capsys.readouterr().out
    assert "synthetic outliers.\n" in told, "nothing learned from them"
    assert "Each image takes 22 calls of the U-net" in told  # 2 for the mask, 4 there, 2 x 4 x 2
    explanation = Explanation.load(folders / "out")
    assert explanation.counterfactuals.shape == (3, 2, 3, SIDE, SIDE)
    document = read_document(folders / "out")
    assert document.head.facts["generator"] == "inversion"
    assert document.head.facts["prompts"] == ["a sign", "a sign"]
    assert (folders / "out" / "report.html").exists()
    saved = read_json(folders / "out" / "explainer" / "explainer.json")
    assert saved["backbone"] == str((folders / "backbone").resolve())


def test_several_prompts_say_how_many_concepts_there_are(folders: Path) -> None:
    for _ in range(2):
        assert explain(folders, *FAST, "--prompt", "speed limit 30") == 0
    head = read_document(folders / "out").head
    assert (head.concepts, head.facts["prompts"]) == (2, ["a sign", "speed limit 30"])


def test_a_detector_that_has_its_own_threshold_is_explained_too(folders: Path) -> None:
    assert explain(folders, *SMALL) == 0
    calibrated = folders / "out" / "explainer" / "detector"
    again = folders / "again"
    more = ("--detector", str(calibrated), "--out", str(again), "--trust")
    assert explain(folders, *SMALL, *more) == 0
    first, second = Explanation.load(folders / "out"), Explanation.load(again)
    assert torch.equal(first.counterfactuals, second.counterfactuals)


def test_a_saved_explainer_is_used_again(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = "Each image takes 22 calls of the U-net"
    for _ in range(2):
        assert explain(folders, *SMALL) == 0
        assert cost in capsys.readouterr().out
    again = folders / "again"
    arguments = ["explain", str(folders / "red"), "--explainer", str(folders / "out"), "--trust"]
    assert cli.main([*arguments, "--out", str(again)]) == 0
    assert cost in capsys.readouterr().out
    first, second = Explanation.load(folders / "out"), Explanation.load(again)
    assert torch.equal(first.counterfactuals, second.counterfactuals)


def test_a_saved_explainer_keeps_its_options(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", str(folders / "red"), "--explainer", str(folders / "out"), *SMALL]
    assert cli.main([*arguments, "--out", str(folders / "again")]) == 2
    assert "--diffusion cannot change --explainer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "source"),
    [((), "something else"), (("--source-prompt", ""), ""), (("--source-prompt", "red"), "red")],
    ids=["own", "none", "given"],
)
def test_the_word_of_the_backbone_gives_way(
    folders: Path, more: tuple[str, ...], source: str
) -> None:
    write_json(folders / "backbone" / "ifnormal.json", {"prompts": PROMPTS})
    for _ in range(2):
        assert explain(folders, *SMALL, *more) == 0
        assert read_json(folders / "out" / "explainer" / "explainer.json")["source"] == source


def test_no_word_is_an_option_as_well() -> None:
    with pytest.raises(UserError, match="--source-prompt is of a diffusion model"):
        ExplainConfig(source_prompt="")


def test_the_same_folder_takes_the_same_options_of_the_method(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(folders, *SMALL) == 0
    assert explain(folders, *SMALL, "--diffusion.latent.steps", "9") == 0, "of another method"
    assert explain(folders, *SMALL, "--diffusion.inversion.steps", "5") == 2
    assert "begun with diffusion.inversion.steps 4, not 5" in capsys.readouterr().err
    assert explain(folders, *SMALL, "--diffusion.inversion.steps", "5", "--fresh") == 0


def broken_off(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explain by G′, but stop after the first checkpoint."""
    save = stage._save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise UserError("Stopped.")

    with monkeypatch.context() as patched:
        patched.setattr(stage, "_save", save_and_stop)
        assert explain(folders, *LATENT, generator="latent") == 2


@pytest.mark.parametrize(("more", "left"), [((), 2), (("--fresh",), 4)], ids=["again", "fresh"])
def test_a_training_that_was_broken_off_goes_on(
    folders: Path,
    more: tuple[str, ...],
    left: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken_off(folders, monkeypatch)
    step, done = stage._step, set()

    def counted(*arguments: Any) -> torch.Tensor:
        done.add(arguments[-1])
        return step(*arguments)

    monkeypatch.setattr(stage, "_step", counted)
    assert explain(folders, *LATENT, *more, generator="latent") == 0
    assert len(done) == left
    assert "outliers; the explainer learned from these." in capsys.readouterr().out
    assert Explanation.load(folders / "out").counterfactuals.shape == (3, 2, 3, SIDE, SIDE)


def test_a_training_does_not_go_on_with_other_options(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_off(folders, monkeypatch)
    assert explain(folders, *LATENT, "--seed", "1", generator="latent") == 2
    assert "was begun with explain.seed 0, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--generator", "pixel"), "--backbone is of a diffusion model"),
        (("--refine",), "refine and thrift work through the pixel generator"),
        (("--prompt", "b", "--prompt", "c", *SMALL), "3 prompts for 2 concepts"),
        (("--backbone", "nowhere"), "nowhere is neither a folder nor owner/name"),
    ],
)
def test_bad_options_are_told_in_a_sentence(
    folders: Path, more: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(folders, *more) == 2
    assert words in capsys.readouterr().err


def test_a_backbone_is_trained_on_folders(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "train-backbone",
        *("--normal", str(folders / "normal"), "--outliers", str(folders / "red")),
        *("--prompt", "dark", "--size", "16", "--out", str(folders / "own")),
        *("--backbone.steps", "2", "--backbone.autoencoder-steps", "2"),
        *("--backbone.batch-size", "2", "--backbone.autoencoder-batch-size", "2"),
        *("--backbone.autoencoder-widths", "[8, 16]", "--backbone.widths", "[16, 16]"),
        *("--backbone.text-width", "16", "--backbone.heads", "2"),
    ]
    assert cli.main(arguments) == 0
    assert "33 images" in capsys.readouterr().out
    facts = read_json(folders / "own" / "ifnormal.json")
    assert facts["normal"] == "dark"
    assert facts["prompts"] == ["", "dark", "something else"]
    assert cli.main(["train-backbone", "--normal", str(folders / "normal")]) == 2
    assert "Say what is normal in a word or two" in capsys.readouterr().err
