"""Queries are counted and limited; the latest answers come back from disk as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from black_boxes import BlackBox
from ifnormal.common.errors import UserError
from ifnormal.detectors.black_box.queries import AnswerBuffer, Queries, delete_answers
from known_detectors import red

SHAPE = (1, 2, 2)


def numbered(first: int, last: int) -> tuple[Tensor, Tensor]:
    """Images and answers that tell their number."""
    numbers = torch.arange(first, last)
    return (numbers % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE), numbers.float()


def contents(latest: AnswerBuffer) -> list[float]:
    return sorted(set(latest.draw(2000, torch.Generator().manual_seed(0))[1].tolist()))


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "queries").iterdir()}


class TestQueries:
    @settings(max_examples=30, deadline=None)
    @given(budget=st.integers(0, 40), sizes=st.lists(st.integers(0, 15), max_size=8))
    def test_the_budget_is_never_exceeded(self, budget: int, sizes: list[int]) -> None:
        box = BlackBox()
        queries = Queries(box, budget)
        for size in sizes:
            before = queries.left
            assert len(queries.ask(red(size))) == min(size, before)
            assert box.asked == queries.used == budget - queries.left <= budget
        assert queries.used == min(budget, sum(sizes))

    def test_answers_are_the_detectors_own(self) -> None:
        box, images = BlackBox(), red(5)
        expected = box.known.inspect(images.float() / 255)[0]
        torch.testing.assert_close(Queries(box, 9).ask(images), expected)

    def test_scores_that_are_no_numbers_are_refused(self) -> None:
        box = BlackBox()
        box.known.broken = True
        with pytest.raises(UserError, match="3 of 3 images scores that are not numbers"):
            Queries(box, 9).ask(red(3))

    def test_endless_log_odds_become_large_ones(self) -> None:
        box = BlackBox()
        box.known.offset = -torch.inf
        answers = Queries(box, 9).ask(red(2))
        assert answers.isfinite().all()
        assert (answers.sigmoid() > 0.9999).all()


class TestLatestAnswers:
    @settings(max_examples=40, deadline=None)
    @given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6))
    def test_the_last_ones_are_kept_with_their_images(
        self, capacity: int, sizes: list[int]
    ) -> None:
        latest, count = AnswerBuffer(SHAPE, capacity), 0
        for size in sizes:
            latest.add(*numbered(count, count + size))
            count += size
        assert len(latest) == min(capacity, count)
        assert contents(latest) == list(range(max(0, count - capacity), count))
        images, answers = latest.draw(20, torch.Generator().manual_seed(1))
        assert torch.equal(images[:, 0, 0, 0].float(), answers % 256)

    def test_parts_are_written_once_and_removed_when_old(self, tmp_path: Path) -> None:
        latest = AnswerBuffer(SHAPE, 10)
        latest.add(*numbered(0, 6))
        assert latest.save(tmp_path) == [(0, 6)]
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "queries").iterdir()}
        latest.add(*numbered(6, 9))
        assert latest.save(tmp_path) == [(0, 6), (6, 9)]
        assert all(path.stat().st_mtime_ns == when for path, when in before.items())
        assert latest.save(tmp_path) == [(0, 6), (6, 9)]
        latest.add(*numbered(9, 40))
        assert latest.save(tmp_path) == [(30, 40)]
        assert len(files(tmp_path)) == 6  # the checkpoint that is about to be written is not there
        latest.delete_others(tmp_path)
        assert len(files(tmp_path)) == 2
        delete_answers(tmp_path)
        assert files(tmp_path) == set()

    @pytest.mark.parametrize("sizes", [[3], [6, 2], [6, 6], [25, 3]])
    def test_restored_as_they_were(self, tmp_path: Path, sizes: list[int]) -> None:
        latest, restored, count = AnswerBuffer(SHAPE, 10), AnswerBuffer(SHAPE, 10), 0
        for size in sizes:
            latest.add(*numbered(count, count + size))
            count += size
            parts = latest.save(tmp_path)
        restored.restore(tmp_path, [list(part) for part in parts])
        for kept in (latest, restored):
            kept.add(*numbered(count, count + 2))
        one, other = (
            kept.draw(50, torch.Generator().manual_seed(2)) for kept in (latest, restored)
        )
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert restored.save(tmp_path) == latest.save(tmp_path)

    def test_what_no_checkpoint_named_is_written_anew(self, tmp_path: Path) -> None:
        latest = AnswerBuffer(SHAPE, 10)
        latest.add(*numbered(0, 4))
        parts = latest.save(tmp_path)
        latest.add(*numbered(4, 8))
        latest.save(tmp_path)  # and then the power failed, before the checkpoint
        again = AnswerBuffer(SHAPE, 10)
        again.restore(tmp_path, parts)
        assert contents(again) == [0, 1, 2, 3]
        again.add(*numbered(50, 54))
        once_more = AnswerBuffer(SHAPE, 10)
        once_more.restore(tmp_path, again.save(tmp_path))
        assert contents(once_more) == [0, 1, 2, 3, 50, 51, 52, 53]

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        latest = AnswerBuffer(SHAPE, 10)
        latest.add(*numbered(0, 4))
        parts = latest.save(tmp_path)
        (path,) = (tmp_path / "queries").glob("*.safetensors")
        packed = bytearray(path.read_bytes())
        packed[-1] ^= 1
        path.write_bytes(packed)
        with pytest.raises(UserError, match="damaged"):
            AnswerBuffer(SHAPE, 10).restore(tmp_path, parts)
