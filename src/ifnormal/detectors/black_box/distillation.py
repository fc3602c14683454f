"""Distillation: how a surrogate learns from a black box, before a generator's fit and during it.

Before the fit, the surrogate is trained on scores of training images and of mixed images (`begin`).
During the fit, it is trained on scores of the generator's outputs every few steps (`refresh`),
because a generator exploits the errors of its surrogate. After the fit, both detectors are compared
on images that the surrogate was not trained on (`report`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.common.checkpoint import restore_training, tensors_below, training_tensors
from ifnormal.common.compute import channels_last
from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.pixels import to_float
from ifnormal.common.progress import Progress
from ifnormal.config import SurrogateConfig
from ifnormal.detectors.black_box.fidelity import fidelity
from ifnormal.detectors.black_box.mixing import mixed_images
from ifnormal.detectors.black_box.queries import AnswerBuffer, Queries
from ifnormal.detectors.black_box.query_budget import BUFFER_BYTES, BudgetPlan
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import Detector, in_batches

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PREFIX = "surrogate/"
_ANSWERS = f"{_PREFIX}answers/"
# The most answers in the buffer, which are those of several hundred refreshes.
_LATEST = 20_000
# Fewer queries at once do not make a refresh; they are saved for the next one.
_LEAST = 16
_ASKED, _REPORT_EVERY = 512, 25


@dataclass
class _Answered:
    """The `rows` (n,) of (N, C, H, W) uint8 images, with the black box's log-odds (n,) of them."""

    images: Tensor
    rows: Tensor
    log_odds: Tensor = field(default_factory=lambda: torch.zeros(0))

    def ask(self, queries: Queries) -> Iterator[int]:
        """Query the log-odds, and yield how many there are after each batch."""
        for rows in self.rows.split(_ASKED):
            answers = queries.ask(self.images[rows.to(self.images.device)])
            self.log_odds = torch.cat([self.log_odds, answers])
            yield len(self.log_odds)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(self.rows), (count,), generator=generator)
        rows = self.rows[chosen].to(self.images.device)
        return self.images[rows].cpu(), self.log_odds[chosen]


class Distillation:
    """The training of a surrogate, with its images and queries.

    Attributes:
        surrogate: it is frozen except during its training steps.
        queries: counted access to the black box.
        figures: of the last refresh, before its training steps: the mean absolute error of the
            surrogate's scores (`surrogate_error`), and the share of the outputs it calls normal
            that the detector flags (`surrogate_fooled`).
    """

    def __init__(
        self,
        detector: Detector,
        normal: Tensor,
        outliers: Tensor,
        config: SurrogateConfig,
        seed: int,
        fabric: Fabric,
    ) -> None:
        if fabric.world_size > 1:
            raise UserError(
                "A detector without a gradient is explained on one device; fit with one process."
            )
        self.config, self._fabric, self.figures = config, fabric, dict[str, Tensor]()
        self.queries = Queries(detector, config.query_budget)
        self.refreshes, self.last_refresh = 0, 0
        torch.manual_seed(seed)
        shape, threshold = detector.shape, float(detector.threshold)
        self.surrogate = Surrogate.create(shape, config.width, threshold).to(fabric.device)
        size = normal[0].numel()
        self.plan = plan = BudgetPlan.make(config.query_budget, len(normal), len(outliers), size)
        self._random = torch.Generator().manual_seed(seed)
        self._known: dict[str, _Answered] = {}
        for name, images, count in (
            ("normal", normal, plan.normal),
            ("outliers", outliers, plan.outliers),
        ):
            rows = torch.randperm(len(images), generator=self._random)
            self._known[name] = _Answered(images, rows[plan.held_out :][:count])
            self._known[f"{name} held out"] = _Answered(images, rows[: plan.held_out])
        both = torch.cat(
            [self._known[name].images[self._known[name].rows] for name in ("normal", "outliers")]
        )
        between = mixed_images(both, plan.between, self._random)
        self._known["between"] = _Answered(between, torch.arange(len(between)))
        left = config.query_budget - plan.before - plan.fresh
        self._latest = AnswerBuffer(shape, max(1, min(_LATEST, BUFFER_BYTES // size, left)))
        self._optimizer = self._new_optimizer(config.refresh_learning_rate)

    def begin(self) -> None:
        """Query the training images and train the surrogate; its features stay fixed afterwards.

        Raises:
            DivergenceError: the surrogate's loss became NaN or infinite.
            UserError: the black box or the surrogate gives outliers no higher scores.
        """
        with Progress("asking the detector", self.plan.before) as progress:
            for answered in self._known.values():
                for _ in answered.ask(self.queries):
                    progress.report(self.queries.used, {})
        optimizer = self._new_optimizer(self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, total_steps=self.config.steps
        )
        with Progress("surrogate", self.config.steps) as progress:
            for step in range(1, self.config.steps + 1):
                loss = self._learn(optimizer, latest=False)
                schedule.step()
                if step % _REPORT_EVERY == 0:
                    progress.report(step, {"loss": loss})
        self._require_discrimination()
        self.surrogate.copy_scorer_to_reader()

    def refresh(self, edited: Tensor, step: int, steps: int) -> None:
        """Query some outputs of the generator after one of its steps, and train on the answers.

        The share of the budget that is spent never exceeds the share of the steps that are done.
        With more outputs than queries, half of the queries go to the outputs that the surrogate
        calls most normal, where its errors do harm, and the others to outputs drawn at random.

        Args:
            edited: (N, C, H, W) uint8, the outputs as they would be saved.
            step: of the generator's fit, counted from 1.
            steps: of the whole fit.
        """
        if step % self.config.refresh_every:
            return
        due = min(self._query_limit(step / steps) - self.queries.used, len(edited))
        if due < min(_LEAST, len(edited)):
            return
        predicted = self._log_odds(edited)
        chosen = self._select_queries(predicted, due)
        images, expected = edited.cpu()[chosen], predicted[chosen].sigmoid()
        answers = self.queries.ask(images)
        here = fidelity(expected, answers.sigmoid(), self.surrogate.threshold)
        self.figures = {
            "surrogate_error": torch.tensor(here["error"]),
            "surrogate_fooled": torch.tensor(here["fooled"] or 0.0),
        }
        self._latest.add(images, answers)
        self.refreshes, self.last_refresh = self.refreshes + 1, step
        for _ in range(self.config.refresh_steps):
            self._learn(self._optimizer, latest=True)

    def report(self, fresh: Tensor) -> dict[str, Any]:
        """Compare the surrogate with the detector on images it was not trained on.

        Args:
            fresh: (N, C, H, W) uint8 outputs of the fitted generator, of which up to `plan.fresh`
                are queried.

        Returns:
            JSON facts: queries by purpose, refreshes, and `fidelity` on both kinds of images.
        """
        fresh = fresh[: self.plan.fresh]
        answers = self.queries.ask(fresh)
        threshold, plan = self.surrogate.threshold, self.plan
        held_out = [self._known[f"{name} held out"] for name in ("normal", "outliers")]
        known = torch.cat([kept.log_odds for kept in held_out])
        expected = torch.cat(
            [self._log_odds(kept.images[kept.rows.to(kept.images.device)]) for kept in held_out]
        )
        return {
            "queries": {
                "budget": self.queries.budget,
                "used": self.queries.used,
                "training_images": plan.normal + plan.outliers,
                "between": plan.between,
                "held_out": 2 * plan.held_out,
                "edits": self.queries.used - plan.before - len(answers),
                "fresh_edits": len(answers),
            },
            "refreshes": self.refreshes,
            "last_refresh": self.last_refresh,
            "on_fresh_edits": fidelity(
                self._log_odds(fresh).sigmoid(), answers.sigmoid(), threshold
            ),
            "on_held_out": fidelity(expected.sigmoid(), known.sigmoid(), threshold),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The state of the training except for the answer buffer, by name."""
        answers = {f"{_ANSWERS}{key}": known.log_odds for key, known in self._known.items()}
        return {**answers, **training_tensors(*self._training(), _PREFIX)}

    def save_answers(self, folder: Path) -> dict[str, Any]:
        """Write the answer buffer, and return the facts that `restore` needs beside `tensors`."""
        return {
            "parts": self._latest.save(folder),
            "used": self.queries.used,
            "refreshes": self.refreshes,
            "last_refresh": self.last_refresh,
        }

    def delete_old_answers(self, folder: Path) -> None:
        """Delete the files of answers that the last checkpoint does not name."""
        self._latest.delete_others(folder)

    def restore(self, folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Restore the state from what `tensors` and `save_answers` returned.

        Raises:
            UserError: a file is missing or damaged, or the training images differ.
        """
        for name, log_odds in tensors_below(_ANSWERS, tensors).items():
            known = self._known[name]
            if len(known.rows) != len(log_odds):
                raise UserError(
                    f"The checkpoint in {folder} was made with other training images; use the same "
                    "images or another folder."
                )
            known.log_odds = log_odds
        restore_training(*self._training(), tensors, _PREFIX)
        self._latest.restore(folder, facts["parts"])
        self.queries.used = facts["used"]
        self.refreshes, self.last_refresh = facts["refreshes"], facts["last_refresh"]

    def _training(
        self,
    ) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer], torch.Generator]:
        """What the training changes, by its names in a checkpoint."""
        return {"net": self.surrogate}, {"optimizer": self._optimizer}, self._random

    def _require_discrimination(self) -> None:
        normal, outliers = (self._known[name] for name in ("normal", "outliers"))
        low, high = normal.log_odds.median().sigmoid(), outliers.log_odds.median().sigmoid()
        if low >= high:
            raise UserError(
                f"The detector gives its outliers no higher scores ({high:.3f}) than normal images "
                f"({low:.3f}); train it longer, or give outliers that it flags."
            )
        low, high = (
            self._log_odds(known.images[known.rows[:1024].to(known.images.device)]).median()
            for known in (normal, outliers)
        )
        if low >= high:
            raise UserError(
                "The surrogate has not learned to tell outliers from normal images as the detector "
                "does; give it a larger surrogate.query_budget or more surrogate.steps."
            )

    def _query_limit(self, share: float) -> int:
        """The number of queries that may be used at a share of the steps."""
        before, end = self.plan.before, self.queries.budget - self.plan.fresh
        return before + int((end - before) * share)

    def _select_queries(self, predicted: Tensor, count: int) -> Tensor:
        """Rows of `count` of N outputs: half with the lowest predicted log-odds, half random."""
        order = torch.randperm(len(predicted), generator=self._random)
        limit = torch.logit(torch.tensor(self.surrogate.threshold), eps=1e-6)
        above = (predicted[order] - limit).relu()
        sure = order[above.argsort(stable=True)[: count // 2]]
        others = order[~torch.isin(order, sure)]
        return torch.cat([sure, others[: count - len(sure)]])

    def _log_odds(self, images: Tensor) -> Tensor:
        """The surrogate's log-odds (N,), on the CPU, of (N, C, H, W) uint8 images."""
        if len(images) == 0:
            return torch.zeros(0)
        return in_batches(self.surrogate.log_odds, images.to(self._fabric.device))

    def _learn(self, optimizer: torch.optim.Optimizer, latest: bool) -> float:
        """One training step on training images, mixed images and, if wanted, the answer buffer.

        Returns the loss before the step.
        """
        size, random, known = self.config.batch_size, self._random, self._known
        between = size // 4 if latest else size // 2
        shares = {"between": between if known["between"].rows.numel() else 0}
        rest = size - between - (size // 2 if latest else 0)
        shares |= {"normal": rest // 2, "outliers": rest - rest // 2}
        drawn = [known[name].draw(count, random) for name, count in shares.items()]
        if latest:
            drawn.append(self._latest.draw(size // 2, random))
        images, wanted = (
            torch.cat(parts).to(self._fabric.device) for parts in zip(*drawn, strict=True)
        )
        scorer = self.surrogate.scorer.requires_grad_(True)
        with self._fabric.autocast():
            log_odds = self.surrogate.log_odds(channels_last(to_float(images)))
        loss = F.smooth_l1_loss(log_odds, wanted)
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"The surrogate's loss became {loss.item()}; lower the surrogate's learning rates."
            )
        optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scorer.requires_grad_(False)
        return loss.item()

    def _new_optimizer(self, rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.surrogate.scorer.parameters(), lr=rate, weight_decay=1e-4, fused=True
        )
