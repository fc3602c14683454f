"""Diffusion models of the hub, without a network: what is fetched, what is said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.explainers.diffusion.loading import load_backbone, save_backbone
from tiny_backbones import SIDE, scheduler, tiny_backbone

hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")
NAME = "somebody/diffusion"


class Hub:
    """One model, kept in a folder, whose weights are fetched as diffusers would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.fetched: list[tuple[str | None, str | None]] = []

    def file(self, name: str, file: str, revision: str | None = None) -> str:
        assert name == NAME
        if self.error is not None:
            raise self.error
        if not (self.folder / file).exists():
            raise errors.EntryNotFoundError(f"404, no {file}")
        return str(self.folder / file)

    def pipeline(self, name: str, **options: Any) -> str:
        assert name == NAME
        assert options["use_safetensors"]
        self.fetched.append((options["revision"], options["variant"]))
        return str(self.folder)


@pytest.fixture
def one_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import diffusers

    save_backbone(tiny_backbone(), tmp_path / "hub", scheduler())
    found = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub, "hf_hub_download", found.file)
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "download", found.pipeline)
    monkeypatch.chdir(tmp_path)
    return found


def test_a_name_is_found_on_the_hub(one_hub: Hub) -> None:
    backbone = load_backbone(NAME, revision="v2")
    assert backbone.where == NAME
    assert one_hub.fetched == [("v2", None)]
    image = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    assert torch.equal(backbone.encode(image), tiny_backbone().encode(image))


def test_files_in_half_precision_are_enough_for_half_precision(one_hub: Hub) -> None:
    load_backbone(NAME, "bfloat16")
    assert one_hub.fetched == [(None, "fp16")]


def response(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GatedRepoError", f"{NAME} is only open to whom its owner admits; ask on its page"),
        ("RepositoryNotFoundError", f"The hub shows you no model {NAME}; correct the name"),
        ("RevisionNotFoundError", f"{NAME} has no revision v2; name a branch"),
        ("LocalEntryNotFoundError", f"The hub cannot be reached for {NAME}"),
        ("OfflineModeIsEnabled", f"The hub cannot be reached for {NAME}"),
    ],
)
def test_what_the_hub_refuses_is_told_in_a_sentence(one_hub: Hub, kind: str, words: str) -> None:
    of_http = issubclass(getattr(errors, kind), errors.HfHubHTTPError)
    options = {"response": response(403)} if of_http else {}
    one_hub.error = getattr(errors, kind)("many\nlines", **options)
    with pytest.raises(UserError, match=words) as raised:
        load_backbone(NAME, revision="v2")
    assert "\n" not in str(raised.value)
    assert one_hub.fetched == []


def test_other_kinds_are_named_before_anything_large_is_fetched(one_hub: Hub) -> None:
    write_json(one_hub.folder / "model_index.json", {"_class_name": "FluxPipeline"})
    with pytest.raises(UserError, match="is FLUX, a flow model, and not supported"):
        load_backbone(NAME)
    (one_hub.folder / "model_index.json").unlink()
    with pytest.raises(UserError, match=r"has no model_index\.json"):
        load_backbone(NAME)
    assert one_hub.fetched == []
