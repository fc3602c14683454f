"""Exported programs and TorchScript: files that run code, and what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import users_models
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.loading import load_detector
from known_detectors import COLOR, blue, red
from users_models import Anomalib, RedNetwork, export_program, script


class TestTrust:
    @pytest.mark.parametrize(("name", "write"), [("m.pt2", export_program), ("m.pt", script)])
    def test_files_that_run_code_ask_for_it(self, tmp_path: Path, name: str, write) -> None:  # type: ignore[no-untyped-def]
        path = write(RedNetwork(), tmp_path / name, torch.rand(2, *COLOR))
        with pytest.raises(UserError, match=r"needs trust, because .* --trust") as refusal:
            load_detector(str(path), shape=COLOR)
        assert str(refusal.value).count(".") <= 4  # one sentence, with file names and suffixes

    def test_a_saved_one_asks_again(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, *COLOR))
        load_detector(str(path), trust=True).save(tmp_path / "saved")  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="needs trust"):
            load_detector(str(tmp_path / "saved"))

    @pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pt2", "w.pkl", "w.ckpt"])
    @pytest.mark.parametrize("old", [False, True])
    def test_a_pickle_is_never_loaded(self, tmp_path: Path, name: str, old: bool) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path(tmp_path / "exploded").touch, ())

        torch.save({"weights": Bomb()}, tmp_path / name, _use_new_zipfile_serialization=not old)
        with pytest.raises(UserError, match="never loads"):
            load_detector(str(tmp_path / name), trust=True)
        assert not (tmp_path / "exploded").exists()

    def test_a_program_is_known_by_what_is_in_it(self, tmp_path: Path) -> None:
        path = export_program(RedNetwork(), tmp_path / "m.pt2", torch.rand(2, *COLOR))
        path.rename(tmp_path / "m.pt")
        detector = load_detector(str(tmp_path / "m.pt"), trust=True)
        assert detector.model.name == "exported program"  # type: ignore[attr-defined]


class TestExportedProgram:
    def test_made_for_some_number_of_images_takes_any(self, tmp_path: Path) -> None:
        path = export_program(
            RedNetwork(), tmp_path / "m.pt2", torch.rand(4, *COLOR), dynamic=False
        )
        detector = load_detector(str(path), trust=True)
        assert isinstance(detector, AdaptedDetector)
        assert detector.shape == COLOR
        images = to_float(blue(7))
        expected = adapt(RedNetwork(), shape=COLOR)
        torch.testing.assert_close(detector.own(images), expected.own(images))
        torch.testing.assert_close(detector.inspect(images)[1], expected.inspect(images)[1])

    def test_a_clip_at_the_end_does_not_swallow_the_gradient(self) -> None:
        program = torch.export.export(
            users_models.PlainTuple(Anomalib()).eval(), (torch.rand(2, *COLOR),)
        )
        detector = adapt(program)
        images = to_float(red(2))
        assert detector.own(images).tolist() == [1.0] * 2
        leaf = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(detector.inspect(leaf)[0].sum(), leaf)
        assert (slope.flatten(1).norm(dim=1) > 0).all()

    def test_a_sigmoid_at_the_end_does_neither(self) -> None:
        class Sure(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return (500 * images.mean((1, 2, 3))).sigmoid()

        program = torch.export.export(Sure(), (torch.rand(2, *COLOR),))
        detector = adapt(program)
        images = torch.full((2, *COLOR), 0.9, requires_grad=True)
        (slope,) = torch.autograd.grad(detector.inspect(images)[0].sum(), images)
        assert (slope > 0).all()
        assert detector.own(images).tolist() == [1, 1]
        (flat,) = torch.autograd.grad(Sure()(images).sum(), images)
        assert flat.count_nonzero() == 0  # which is what it is for


def test_a_clip_at_the_end_may_hold_all_normal_images(tmp_path: Path) -> None:
    """As anomalib exports: every normal image at exactly 0, its gradient before the clip."""

    class Clipped(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.mean((1, 2, 3)) - 0.9).clamp(0, 1)

    batch = ({0: torch.export.Dim("batch")},)
    example = (torch.rand(2, 3, 16, 16),)
    program = torch.export.export(Clipped(), example, dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "m.pt2")
    detector = load_detector(tmp_path / "m.pt2", trust=True, shape=(3, 16, 16))
    assert isinstance(detector, AdaptedDetector)
    images = torch.randint(0, 200, (16, 3, 16, 16)).to(torch.uint8)
    assert float(detector.own(images / 255).max()) == 0
    facts = check_contract(detector, images)
    assert facts["without_gradient"] == 0
