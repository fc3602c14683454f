"""One detector, three kinds of access: its own network, its ONNX export, and its bare scores.

The same detector is explained each time, so that all differences come from the access to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import rows, with_generator
from ifnormal.evaluation import METRICS

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.detectors.detector import Detector

NAME = "access"
SETUP = "colored-mnist"
NATIVE, ONNX, BLACK_BOX = "native", "onnx", "black-box"
# Variant -> its name in the table.
ACCESSES: Mapping[str, str] = {
    NATIVE: "its own network",
    ONNX: "its ONNX export",
    BLACK_BOX: "as a black box",
}
KEYS = ("normality_auroc", "validity", "truly_normal", "minimal_edit", "two_ways", "fid_n")
_COLUMNS: Mapping[str, str] = {
    **{key: METRICS[key].heading for key in KEYS},
    "valid_for_network": "valid for the network itself, %",
    "queries": "queries of the fit",
    "fooled": "surrogate fooled, %",
}


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(SETUP):
        return []
    return [
        BenchRun(NAME, SETUP, detector, seed, access, selection.budget, generator=generator)
        for generator in selection.each_generator
        for detector in selection.detectors or ("bce",)
        for access in ACCESSES
        for seed in selection.seeds
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.detectors.detector import in_batches
    from ifnormal.evaluation.validity import validity

    made = Materials(run, folder, workplace)
    network = made.detector
    made.detector = accessed(network, run.variant, folder)
    made.detector = made.explainer.detector  # as the fit has calibrated it
    explanation = made.explain()
    edits = explanation.counterfactuals
    scores = in_batches(network, edits.flatten(0, 1)).view(edits.shape[:2])
    surrogate = explanation.facts.get("surrogate", {})
    fooled = surrogate.get("on_fresh_edits", {}).get("fooled")
    figures = {
        **made.figures(explanation),
        "valid_for_network": validity(scores, network.threshold),
        "queries": surrogate.get("queries", {}).get("used"),
        "fooled": None if fooled is None else 100 * fooled,
    }
    made.save(explanation, figures)
    return figures


def accessed(network: Detector, access: str, folder: Path) -> Detector:
    """The detector as one of `ACCESSES` shows it; its scores and threshold are those of `network`.

    Args:
        network: a torch module.
        access: which access.
        folder: holds the file of the export.
    """
    if access == NATIVE:
        return network
    if access == ONNX:
        from ifnormal.detectors.loading import load_detector

        path = folder / "detector.onnx"
        if not path.exists():
            _export(network, path)
        return load_detector(str(path), shape=network.shape, threshold=network.threshold)
    import torch

    from ifnormal.detectors.adapted.detector import adapt

    @torch.no_grad()
    def scores(images: Tensor) -> Any:
        return network(images).numpy()

    return adapt(scores, shape=network.shape, black_box=True, threshold_own=network.threshold)


def _export(network: Detector, path: Path) -> None:
    """Write an ONNX file of images -> scores, for batches of any size."""
    import torch

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            return network(images)

    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        Scores(),
        (torch.rand(2, *network.shape),),
        str(path),
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    label = with_generator(plan, lambda run: ACCESSES[run.variant])
    return [
        Table(
            "One detector, met through its network, its ONNX export and its scores",
            list(_COLUMNS.values()),
            rows(plan, finished, _COLUMNS, label, absent="does not apply"),
            (
                "Figures that are given by concept are means over the concepts. All scores are of "
                "the detector itself; a black box has a surrogate for the fit alone. Fooled: edits "
                "that the detector flags, of the fresh ones that the surrogate accepts.",
            ),
        )
    ]


EXPERIMENT = Experiment(
    name=NAME,
    title="One detector through its own network, its ONNX export and its bare scores",
    source="ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("validity", "truly_normal"),
)
