"""Training of a small backbone: resumed it is the same, and what it is told decides."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import png_bytes
from ifnormal.explainers.diffusion.backbone_training import _reconstruction_quality, train_backbone
from ifnormal.explainers.diffusion.loading import load_backbone
from ifnormal.explainers.diffusion.small_backbone import small_tokenizer
from ifnormal.explainers.diffusion.training_material import (
    UNKNOWN,
    TrainingMaterial,
    material_of_folders,
)
from ifnormal.training import stage as stages
from tiny_backbones import PROMPTS, SIDE, TINY, tiny_backbone

CONFIG = replace(TINY, steps=4, autoencoder_steps=4, checkpoint_every=2)


def material(channels: int = 3, seed: int = 0) -> TrainingMaterial:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (12, channels, SIDE, SIDE), generator=random)
    prompt_of = torch.randint(1, len(PROMPTS), (12, 2), generator=random)
    return TrainingMaterial(images.to(torch.uint8), PROMPTS, prompt_of, "a sign")


def test_only_what_images_show_is_a_prompt(tmp_path: Path) -> None:
    for name in ("bottles", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(png_bytes(material().images[0]))
    alone = material_of_folders(tmp_path / "bottles", None, "bottle", SIDE)
    both = material_of_folders(tmp_path / "bottles", tmp_path / "others", "bottle", SIDE)
    for made, shown in ((alone, ["bottle"]), (both, ["bottle", UNKNOWN])):
        assert made.prompts == ("", *shown)
        assert [made.prompts[n] for n in made.prompt_of[:, 0]] == shown


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("at", ["autoencoder", "noise predictor"])
def test_a_training_that_was_broken_off_ends_the_same(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_backbone(material(), CONFIG, 0, tmp_path / "whole")
    save = stages._save

    def stop(stage, averaged, optimizer, random, step, folder):  # type: ignore[no-untyped-def]
        save(stage, averaged, optimizer, random, step, folder)
        if stage.name == at and step == 2:
            raise StoppedError

    monkeypatch.setattr(stages, "_save", stop)
    with pytest.raises(StoppedError):
        train_backbone(material(), CONFIG, 0, tmp_path / "broken")
    assert not (tmp_path / "broken").exists(), "only a finished backbone has its name"
    monkeypatch.setattr(stages, "_save", save)
    train_backbone(material(), CONFIG, 0, tmp_path / "broken", resume=True)
    again = load_backbone(tmp_path / "broken").state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again[name]), name


def test_a_checkpoint_of_other_images_is_refused(tmp_path: Path) -> None:
    train_backbone(material(), CONFIG, 0, tmp_path / "one")
    with pytest.raises(UserError, match=r"autoencoder.*another images"):
        train_backbone(material(seed=1), CONFIG, 0, tmp_path / "one", resume=True)
    with pytest.raises(UserError, match="another config"):
        train_backbone(material(), replace(CONFIG, batch_size=5), 0, tmp_path / "one", resume=True)


def test_grey_images_and_facts(tmp_path: Path) -> None:
    backbone = train_backbone(material(1), CONFIG, 3, tmp_path / "grey")
    assert backbone.size == (SIDE, SIDE)
    latents = backbone.encode(torch.rand(64, 3, SIDE, SIDE))
    assert latents.shape == (64, 4, SIDE // 2, SIDE // 2)
    assert backbone.facts["prompts"] == list(PROMPTS)
    assert backbone.facts["psnr"] > 0
    assert (tmp_path / "grey-training" / "autoencoder.jsonl").read_text().count("\n") == 1


def test_a_folder_of_something_else_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.png").touch()
    with pytest.raises(UserError, match="holiday is no backbone that ifnormal train-backbone made"):
        train_backbone(material(), CONFIG, 0, tmp_path / "holiday")
    assert [path.name for path in tmp_path.rglob("*")] == ["holiday", "beach.png"]


def test_seconds_before_a_break_count(tmp_path: Path) -> None:
    train_backbone(material(), CONFIG, 0, tmp_path / "one")
    log = tmp_path / "one-training" / "autoencoder.jsonl"
    log.write_text(json.dumps({**json.loads(log.read_text()), "seconds": 5000.0}) + "\n")
    again = train_backbone(material(), CONFIG, 0, tmp_path / "one", resume=True)
    assert 5000 < again.facts["seconds"] < 6000


def test_the_quality_of_reconstructions_is_the_same_in_parts() -> None:
    vae, images, device = tiny_backbone().vae, material().images, torch.device("cpu")
    decoded: list[int] = []
    watch = vae.decoder.register_forward_pre_hook(lambda _, given: decoded.append(len(given[0])))
    whole, in_parts = (_reconstruction_quality(vae, images, n, device) for n in (12, 5))
    watch.remove()
    assert decoded == [12, 5, 5, 2]
    assert in_parts == pytest.approx(whole, abs=1e-4)


def test_sides_that_cannot_be_halved_are_refused(tmp_path: Path) -> None:
    odd = replace(material(), images=torch.zeros(12, 3, 18, 18, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"18x18.*multiples of 4"):
        train_backbone(odd, CONFIG, 0, tmp_path / "odd")


def test_known_words_are_tokens_and_others_are_spelled() -> None:
    tokenizer = small_tokenizer(PROMPTS)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("Speed limit zebra é").input_ids)
    assert "speed</w>" in tokens
    assert "limit</w>" in tokens
    assert "z" in tokens
    assert tokens.count(tokenizer.unk_token) == 1, "the end, and nothing unknown"
