"""A run folder: only what is ours is removed, and what made a run is written down."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ifnormal.common import provenance
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.jobs import run_folder
from ifnormal.jobs.run_folder import clear, difference
from tiny_runs import files, touch

OURS = [
    "detector/detector.json",
    "detector/detector-0123456789ab.safetensors",
    "detector/losses.jsonl",
    "detector/.detector.json.0123456789abcdef",
    "judge/judge.json",
    "judge/judge-0123456789ab.safetensors",
    "explainer/explainer.json",
    "explainer/explainer-0123456789ab.safetensors",
    "explainer/losses.jsonl",
    "explainer/checkpoint.json",
    "explainer/checkpoint-0123456789ab.safetensors",
    "explainer/latent generator.json",
    "explainer/latent generator-0123456789ab.safetensors",
    "explainer/latent generator.jsonl",
    "explainer/fitted_to.json",
    "explainer/queries/answers-000000000-000000064.json",
    "explainer/queries/answers-000000000-000000064-0123456789ab.safetensors",
    "explainer/detector/detector.json",
    "explainer/detector/detector-0123456789ab.safetensors",
    "explanation/explanation.json",
    "explanation/explanation-0123456789ab.safetensors",
    "explanation/images/0000_anomaly.png",
    "explanation/images/12345_concept10.png",
    "gradient/explanation.json",
    "gradient/images/0000_concept0.png",
    "own-images/explanation/explanation.json",
    "own-images/explanation/images/0000_concept1.png",
    "own-images/explanation.json",
    "own-images/images/000000_concept1.png",
    "own-images/images/000000_concept1_way.png",
    "own-images/parts/job.json",
    "own-images/parts/part-000012.json",
    "own-images/report.html",
    "truth.json",
    "metrics.json",
    "report.html",
    ".report.html.0123456789abcdef",
]
THEIRS = [
    "notes.txt",
    "detector/mine.json",
    "detector/detector-final.safetensors",
    "detector/deep/judge.json",
    "explainer/checkpoint.txt",
    "explainer/queries/answers.json",
    "explanation/images/0000_anomaly.png.bak",
    "explanation/images/cat.png",
    "report.html.old",
    ".hidden",
    "gradient/losses.jsonl",
    "own-images/cat.png",
    "images/0000_anomaly.png",
]


class TestClear:
    def test_precisely_our_files_go(self, tmp_path: Path) -> None:
        touch(tmp_path, OURS + THEIRS)
        clear(tmp_path, "detector")
        assert files(tmp_path) == set(THEIRS)
        assert not (tmp_path / "judge").exists(), "a folder of ours alone goes as well"
        assert (tmp_path / "detector").is_dir()

    @pytest.mark.parametrize(
        ("stage", "kept"),
        [
            ("fit", ("detector", "judge")),
            ("explain", ("detector", "judge", "explainer", "own-images")),
            ("evaluate", ("detector", "judge", "explainer", "own-images", "explanation")),
        ],
    )
    def test_a_stage_outdates_what_comes_after_it(
        self, tmp_path: Path, stage: str, kept: tuple[str, ...]
    ) -> None:
        touch(tmp_path, OURS)
        clear(tmp_path, stage)
        assert files(tmp_path) == {name for name in OURS if name.startswith(kept)}


class TestBegin:
    @pytest.mark.parametrize(
        ("name", "content"),
        [("config.json", {"port": 80}), ("metrics.json", {"cost": 3}), ("judge/judge.json", {})],
    )
    def test_files_of_others_by_our_names_are_safe(
        self, tmp_path: Path, name: str, content: dict[str, Any]
    ) -> None:
        write_json(tmp_path / name, content)
        with pytest.raises(UserError, match=f"already holds {name}"):
            run_folder.begin(tmp_path)
        assert read_json(tmp_path / name) == content

    def test_a_run_of_ours_may_be_made_anew(self, tmp_path: Path) -> None:
        write_json(tmp_path / "config.json", {"versions": {"ifnormal": "0.1.0"}})
        touch(tmp_path, ["metrics.json"])
        run_folder.begin(tmp_path)

    def test_a_new_folder_is_made(self, tmp_path: Path) -> None:
        run_folder.begin(tmp_path / "new" / "run")
        assert (tmp_path / "new" / "run").is_dir()
        assert files(tmp_path) == set(), "trying to write leaves nothing behind"

    def test_a_folder_below_a_file_cannot_be_written(self, tmp_path: Path) -> None:
        touch(tmp_path, ["file"])
        for run in (tmp_path / "file", tmp_path / "file" / "run"):
            with pytest.raises(UserError, match=f"folder {run} cannot be written"):
                run_folder.begin(run)


class TestDifference:
    def test_of_the_same_options(self, tmp_path: Path) -> None:
        options = {"seed": 1, "data": {"data_root": tmp_path, "sizes": (1, 2)}}
        write_json(tmp_path / "saved.json", {**options, "more": 3})
        assert difference(read_json(tmp_path / "saved.json"), options) is None

    @pytest.mark.parametrize(
        ("saved", "now", "told"),
        [
            ({"fit": {"steps": 1}}, {"fit": {"steps": 2}}, "fit.steps 1, not 2"),
            ({"seed": 1}, {"seed": 1, "budget": "smoke"}, "budget unknown, not smoke"),
            ({"data": {"root": None}}, {"data": {"root": Path("x")}}, "data.root None, not x"),
            ({"root": None}, {}, None),
        ],
    )
    def test_is_told(self, saved: dict[str, Any], now: dict[str, Any], told: str | None) -> None:
        assert difference(saved, now) == told


class TestCommit:
    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        provenance._checkout.cache_clear()
        yield
        provenance._checkout.cache_clear()

    def repository(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A repository with a package in it, taken for ours."""
        if shutil.which("git") is None:
            pytest.skip("there is no git")
        package = folder / "src" / "package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        monkeypatch.setattr(provenance, "_PACKAGE", package)
        self.git(folder, "init", "-q")

    def git(self, folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath="]
        command = ["git", *who, *arguments]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def test_of_a_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repository(tmp_path, monkeypatch)
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "commit", "-qm", "first")
        monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
        facts = provenance._checkout()
        monkeypatch.delenv("GIT_DIR")
        head = self.git(tmp_path, "rev-parse", "HEAD")
        assert facts == {"commit": head, "uncommitted_changes": False}

    def test_changes_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repository(tmp_path, monkeypatch)
        self.git(tmp_path, "add", ".")
        self.git(tmp_path, "commit", "-qm", "first")
        (tmp_path / "src" / "package" / "__init__.py").write_text("changed")
        assert provenance._checkout()["uncommitted_changes"] is True

    def test_a_checkout_of_another_project_is_not_ours(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.repository(tmp_path, monkeypatch)
        self.git(tmp_path, "commit", "-qm", "first", "--allow-empty")
        assert provenance._checkout()["commit"] is None

    def test_without_git(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert provenance._checkout()["commit"] is None
