"""The page: drop an image in, choose α and the concept, see the edit and its score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from ifnormal.app import figures
from ifnormal.app.uploads import read_upload, take_contents
from ifnormal.app.what_if import edit, edit_in_all_concepts, scored, units
from ifnormal.common.errors import UserError
from ifnormal.explainers.explainer import Explainer
from ifnormal.report.wording import concept_name

CSS = (Path(__file__).parent / "page.css").read_text()
_HOURS = 3600
_TITLE = "What would have to change in this image for the detector to call it normal?"


def make_page(explainer: Explainer, uploads: Path) -> gr.Blocks:
    """Build the page of one explainer; every visitor has their own image.

    Args:
        explainer: a fitted explainer.
        uploads: the only folder that files are read from; they are removed at once.
    """
    detector, concepts = explainer.detector, explainer.concepts
    says = units(detector)

    def take(path: str | None) -> tuple[Any, ...]:
        """Read an upload; returns the image, both panels, and values that reset the controls."""
        try:
            image = read_upload(take_contents(path, uploads), detector.shape)
            return image, *look(image, 0.0, 0), ways(image), None, 0.0, 0
        except UserError as error:
            return None, figures.complaint(str(error)), "", None, 0.0, 0

    def look(image: Tensor | None, target: float, concept: int) -> tuple[str]:
        if image is None:
            return (figures.NOTHING_YET,)
        try:
            after = edit(explainer, image, target, concept)
        except UserError as error:
            return (figures.complaint(str(error)),)
        before = scored(detector, image[None])[0]
        return (figures.comparison(before, after, says, target, concept),)

    def ways(image: Tensor) -> str:
        before = scored(detector, image[None])[0]
        return figures.all_concepts(before, edit_in_all_concepts(explainer, image), says)

    with gr.Blocks(
        title="ifnormal",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_HOURS, _HOURS),
    ) as page:
        gr.Markdown(f"## {_TITLE}")
        image = gr.State(None, time_to_live=_HOURS)
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.File(label="An image", height=150, elem_id="upload")
                target = gr.Slider(
                    0,
                    1,
                    0,
                    step=0.01,
                    label="Target score α",
                    info=f"0 is normal, above {detector.threshold:.2f} is flagged",
                    buttons=[],
                    elem_id="target",
                )
                concept = gr.Radio(
                    [(concept_name(k), k) for k in range(concepts)],
                    value=0,
                    label="Concept k",
                    elem_id="concept",
                )
            with gr.Column(scale=4):
                panel = gr.HTML(figures.NOTHING_YET, elem_id="panel")
        overview = gr.HTML("", elem_id="overview")

        quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        upload.upload(take, [upload], [image, panel, overview, upload, target, concept], **quietly)
        for control in (target, concept):
            control.input(
                look, [image, target, concept], [panel], trigger_mode="always_last", **quietly
            )
    return page
