"""Explainers on the hub, without a network: what is sent, what is fetched, what is said."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ifnormal.common.compute import make_fabric
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.sharing import FILES
from known_detectors import mean_color, red, tiny
from known_explainers import built_in_explainer, color_explainer

hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")


class Hub:
    """A hub of one model, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []  # type: ignore[var-annotated]
        self.error: Exception | None = None

    def note(self, name: str, *arguments: Any, **options: Any) -> None:
        self.asked.append((name, arguments, options))
        if self.error is not None:
            raise self.error

    def snapshot_download(self, repo_id: str, **options: Any) -> str:
        self.note("download", repo_id, **options)
        return str(self.folder)

    def api(self, token: str | None = None) -> SimpleNamespace:
        def create_repo(repo_id: str, **options: Any) -> SimpleNamespace:
            self.note("create", repo_id, token=token, **options)
            return SimpleNamespace(repo_id=f"me/{repo_id}" if "/" not in repo_id else repo_id)

        def upload_folder(*, folder_path: Path, allow_patterns: list[str], **options: Any) -> Any:
            self.note("upload", allow_patterns=allow_patterns, **options)
            files = [path for path in folder_path.rglob("*") if path.is_file()]
            names = [path.relative_to(folder_path).as_posix() for path in files]
            for name in hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder_path / name, self.folder / name)
            return SimpleNamespace(commit_url="https://hub/commit/1")

        return SimpleNamespace(create_repo=create_repo, upload_folder=upload_folder)


@pytest.fixture
def one_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path / "hub")
    make_fabric()  # imports transformers, which needs the real HfApi
    monkeypatch.setattr(hub, "snapshot_download", found.snapshot_download)
    monkeypatch.setattr(hub, "HfApi", found.api)
    monkeypatch.chdir(tmp_path)
    return found


def contents(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


class TestThereAndBack:
    def test_it_edits_as_before(self, one_hub: Hub) -> None:
        explainer, anomalies = built_in_explainer(), red(3, seed=4)
        assert explainer.push_to_hub("me/colors") == "https://hub/commit/1"
        again = Explainer.from_pretrained("me/colors")
        assert (again.config, again.seed) == (explainer.config, 5)
        here, there = explainer.explain(anomalies), again.explain(anomalies)
        assert torch.equal(here.counterfactuals, there.counterfactuals)
        torch.testing.assert_close(
            here.calibrated_scores_after, there.calibrated_scores_after, atol=1e-6, rtol=0
        )

    def test_what_is_sent(self, one_hub: Hub) -> None:
        built_in_explainer().push_to_hub("me/colors", private=True, revision="b", token="secret")
        weights = [name for name in contents(one_hub.folder) if name.endswith(".safetensors")]
        facts = ["README.md", "detector/detector.json", "explainer.json"]
        assert sorted([*weights, *facts]) == contents(one_hub.folder)
        assert len(weights) == 2
        (_, created, options), (_, _, uploaded) = one_hub.asked
        assert created == ("me/colors",)
        assert options == {"token": "secret", "private": True, "exist_ok": True}
        assert uploaded["repo_id"] == "me/colors"
        assert uploaded["revision"] == "b"
        old = hub.utils.filter_repo_objects(
            ["explainer-0123456789ab.safetensors", "detector/detector-0.safetensors", "notes.md"],
            allow_patterns=uploaded["delete_patterns"],
        )
        assert len(list(old)) == 2, "weights of an earlier fit go away, notes of the owner stay"

    def test_what_is_fetched(self, one_hub: Hub) -> None:
        built_in_explainer().save(one_hub.folder)
        Explainer.from_pretrained("me/colors", revision="v2", token="secret")
        ((name, arguments, options),) = one_hub.asked
        assert (name, arguments) == ("download", ("me/colors",))
        assert (options["revision"], options["token"]) == ("v2", "secret")
        offered = ["pytorch_model.bin", "explainer.pkl", "model.pt", "code.py", "detector/x.pt2"]
        wanted = [*contents(one_hub.folder), "README.md"]
        taken = hub.utils.filter_repo_objects(
            [*offered, *wanted], allow_patterns=options["allow_patterns"]
        )
        assert sorted(taken) == sorted(wanted), "nothing that could run code"
        assert options["allow_patterns"] == FILES

    def test_a_detector_of_ones_own(self, one_hub: Hub) -> None:
        color_explainer().push_to_hub("colors")
        assert one_hub.asked[1][2]["repo_id"] == "me/colors", "as the hub completed it"
        detector = mean_color()
        assert Explainer.from_pretrained("me/colors", detector).detector is detector
        with pytest.raises(UserError, match="detector"):
            Explainer.from_pretrained("me/colors", mean_color((3, 32, 32)))

    def test_paths_of_this_machine_stay_here(self, one_hub: Hub, tmp_path: Path) -> None:
        explainer = built_in_explainer()
        explainer.facts["skipped_training_images"] = [{"path": "/private/a.png", "reason": "no"}]
        explainer.facts["contamination"] = {"suspects": [{"path": "/private/b.png"}]}
        save = explainer.detector.save  # type: ignore[attr-defined]

        def save_with_a_file(folder: Path) -> None:
            save(folder)
            facts = read_json(folder / "detector.json")
            where = {"file": "/private/secret/model.onnx", "spec": "/private/secret/model.onnx"}
            write_json(folder / "detector.json", {**facts, **where})

        explainer.detector.save = save_with_a_file  # type: ignore[attr-defined]
        explainer.push_to_hub("me/explainer")
        sent = "".join(path.read_text() for path in one_hub.folder.rglob("*.json"))
        assert "model.onnx" in sent
        assert "private" not in sent

    def test_a_tampered_weight_is_noticed(self, one_hub: Hub) -> None:
        built_in_explainer().push_to_hub("me/colors")
        weights = next(one_hub.folder.glob("explainer-*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        with pytest.raises(UserError, match="damaged"):
            Explainer.from_pretrained("me/colors")


class TestFolders:
    def test_need_no_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        built_in_explainer().save(tmp_path / "explainer")
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        monkeypatch.chdir(tmp_path)
        assert Explainer.from_pretrained("explainer").seed == 5
        assert Explainer.from_pretrained(tmp_path / "explainer").seed == 5
        with pytest.raises(UserError, match=r"ifnormal\[hub\].*folder"):
            Explainer.from_pretrained("me/colors")

    def test_have_no_revision(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no revision main"):
            Explainer.from_pretrained(tmp_path, revision="main")

    def test_that_hold_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"explainer\.json"):
            Explainer.from_pretrained(tmp_path)


class TestModelCard:
    def test_holds_facts(self) -> None:
        card = built_in_explainer().model_card("me/colors")
        metadata = hub.ModelCard(card).data.to_dict()
        assert metadata["library_name"] == "ifnormal"
        assert "anomaly-detection" in metadata["tags"]
        count = sum(p.numel() for p in built_in_explainer().generator.parameters())
        for fact in (
            "16 x 16 pixels, 3 channels",
            "TrainedDetector",
            "2 steps",
            "seed 5",
            "# colors",
        ):
            assert fact in card
        assert f"| Parameters | {count:,} |" in card
        assert 'from_pretrained("me/colors")' in card

    def test_a_detectors_name_stays_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        explainer = Explainer(mean_color(), tiny())
        explainer.editor = color_explainer().editor
        name = "a|b\n# <script>alert(1)</script> [x](y)"
        monkeypatch.setattr(explainer.detector, "facts", {"name": name}, raising=False)
        card = explainer.model_card("me/colors")
        assert "<script>" not in card
        assert "\n# <" not in card
        assert r"a\|b # \<script\>" in card


def http(kind: str, status: int) -> Callable[[], Exception]:
    def make() -> Exception:
        request = SimpleNamespace(url="https://hub", headers={})
        response = SimpleNamespace(status_code=status, headers={}, request=request)
        made: Exception = getattr(errors, kind)(
            f"{status} Client Error.\n\nLong.", response=response
        )
        return made

    return make


FAILURES = {
    "gated": (http("GatedRepoError", 403), "only open to whom its owner admits"),
    "not there": (http("RepositoryNotFoundError", 401), "no model me/colors; .* log in"),
    "no revision": (http("RevisionNotFoundError", 404), "no revision v9"),
    "forbidden": (http("HfHubHTTPError", 403), r"\(status 403\); log in"),
    "down": (http("HfHubHTTPError", 503), r"\(status 503\); try again later"),
    "no network": (lambda: errors.LocalEntryNotFoundError("a\nb"), "cannot be reached .*network"),
    "offline": (lambda: errors.OfflineModeIsEnabled("off"), "cannot be reached"),
    "bad name": (lambda: errors.HFValidationError("no"), "nor a name on the hub"),
    "who": (lambda: errors.LocalTokenNotFoundError("no"), "hf auth login"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("direction", ["from", "to"])
def test_failures_are_one_sentence(one_hub: Hub, case: str, direction: str) -> None:
    make, sentence = FAILURES[case]
    one_hub.error = make()
    calls = {"from": Explainer.from_pretrained, "to": color_explainer().push_to_hub}
    with pytest.raises(UserError, match=sentence) as caught:
        calls[direction]("me/colors", revision="v9")
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert text.count(". ") == 0
    assert caught.value.__suppress_context__


def test_a_bug_is_not_taken_for_a_bad_network(one_hub: Hub) -> None:
    one_hub.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        Explainer.from_pretrained("me/colors")


def test_what_is_not_fitted_is_not_published(one_hub: Hub) -> None:
    with pytest.raises(UserError, match="not fitted"):
        Explainer(mean_color(), tiny()).push_to_hub("me/colors")
    assert one_hub.asked == []


def test_no_network_is_a_sentence_for_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package itself, told to stay offline."""
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="cannot be reached"):
        Explainer.from_pretrained("nobody/nothing-of-this-name")
    with pytest.raises(UserError, match="nor a name on the hub"):
        Explainer.from_pretrained("a/b/c")
