"""Folders in diffusers' format: what Stable Diffusion looks like on disk, and what is refused."""

import json
import re
from copy import copy
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.explainers.diffusion.loading import load_backbone, save_backbone
from tiny_backbones import SIDE, scheduler, tiny_backbone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_backbone(tiny_backbone(), tmp_path / "tiny", scheduler())
    return tmp_path / "tiny"


def test_saved_and_loaded_is_the_same(folder: Path) -> None:
    before, after = tiny_backbone(), load_backbone(folder)
    images = torch.rand((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    assert torch.equal(before.encode(images), after.encode(images))
    latents, prompts = before.encode(images), ["a sign", "zebra"]
    assert torch.equal(before.embed(prompts), after.embed(prompts))
    words = before.embed(prompts)
    for ours, theirs in zip(
        before.predict(latents, 500, words), after.predict(latents, 500, words), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert torch.equal(before.decode(latents), after.decode(latents))
    assert after.size == (SIDE, SIDE)
    assert after.facts == {"name": "tiny"}
    assert not any(weight.requires_grad for weight in after.parameters())


def test_saving_again_replaces_the_folder_as_a_whole(folder: Path) -> None:
    (folder / "unet" / "old.safetensors").touch()
    save_backbone(tiny_backbone(), folder, scheduler())
    assert not (folder / "unet" / "old.safetensors").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"], "nothing half-written"


def test_only_a_backbone_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_backbone(tiny_backbone(), tmp_path / "empty", scheduler())
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.png").touch()
    for taken in (tmp_path / "holiday", tmp_path / "holiday" / "beach.png"):
        with pytest.raises(UserError, match=f"^{re.escape(str(taken))} is no backbone .*--out"):
            save_backbone(tiny_backbone(), taken, scheduler())
    assert (tmp_path / "holiday" / "beach.png").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True, "prediction_type": "epsilon"}),
        ("PNDMScheduler", {"set_alpha_to_one": True, "prediction_type": "v_prediction"}),
        ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}),
        ("DDIMScheduler", {"clip_sample": True, "prediction_type": "epsilon"}),
    ],
)
def test_noise_levels_of_other_schedulers_are_read_as_ddims(
    folder: Path, name: str, options: dict[str, object]
) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    saved = json.loads(path.read_text())
    keep = ("beta_start", "beta_end", "beta_schedule", "steps_offset", "num_train_timesteps")
    kept = {key: saved[key] for key in keep}
    path.write_text(json.dumps({**kept, "_class_name": name, **options}))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    schedule = load_backbone(folder).schedule
    assert schedule.prediction == options["prediction_type"]
    torch.testing.assert_close(schedule.alphas, tiny_backbone().schedule.alphas)
    assert schedule.offset == 1


def test_files_in_half_precision_alone_are_found(folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, dtype=torch.float16
    )
    other = folder.with_name("half")
    pipeline.save_pretrained(other, variant="fp16", safe_serialization=True)
    assert not (other / "unet" / "diffusion_pytorch_model.safetensors").exists()
    half = load_backbone(other, "bfloat16")
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    images = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    whole = tiny_backbone()
    torch.testing.assert_close(half.encode(images), whole.encode(images), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("StableDiffusionXLPipeline", "Stable Diffusion XL"),
        ("StableDiffusion3Pipeline", "flow model"),
        ("FluxPipeline", "FLUX"),
    ],
)
def test_other_kinds_are_named(folder: Path, kind: str, words: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    with pytest.raises(UserError, match=f"{words}.*not supported; name a Stable Diffusion"):
        load_backbone(folder)


def test_pipelines_without_a_unet_are_named_by_their_class(folder: Path) -> None:
    index = {"_class_name": "CogView4Pipeline", "transformer": ["diffusers", "X"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"of the kind CogView4Pipeline.*; name a Stable Diffusion"):
        load_backbone(folder)


def test_unets_that_read_more_than_latents_are_refused(tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    plain = tiny_backbone()
    inpainting = copy(plain)
    unet = UNet2DConditionModel.from_config({**plain.unet.config, "in_channels": 9})
    inpainting._modules = {**plain._modules, "unet": unet}
    save_backbone(inpainting, tmp_path / "inpainting", scheduler())
    with pytest.raises(UserError, match=r"reads 9 channels where latents have 4.*inpainting"):
        load_backbone(tmp_path / "inpainting")


def test_flow_models_are_known_by_their_scheduler(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0}))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="flow model"):
        load_backbone(folder)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor owner/name"):
        load_backbone(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no model_index\.json"):
        load_backbone(tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot be loaded.*with safetensors"):
        load_backbone(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(tiny_backbone().unet.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_backbone(folder)
