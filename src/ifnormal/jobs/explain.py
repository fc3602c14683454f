"""A user's own images, explained by a detector of the user's own into a folder.

```
OUT/config.json, OUT/explainer/   see `fitted_explainer`; not where an explainer is named
OUT/second-opinion/               see `second_opinion`; likewise
OUT/explanation.json              the explanation, with images/ and, while it grows, parts/
OUT/report.html                   the report
```
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ifnormal.common.errors import UserError
from ifnormal.config import RefineConfig, ThriftConfig
from ifnormal.config.editors import require_refinement
from ifnormal.data.files.finding import find_images
from ifnormal.explainers.improve import improve
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.fitted_explainer import explainer_for
from ifnormal.jobs.second_opinion import second_opinion_for
from ifnormal.jobs.stream import Streaming, Summary, explain_images
from ifnormal.jobs.tell import Tell


def explain_own_images(
    images: Sequence[Path],
    options: ExplainOptions,
    out: Path,
    tell: Tell = lambda sentence: None,
) -> Summary:
    """Explain image files by a detector of the user's own; the same call again goes on.

    Args:
        images: files and folders.
        options: the detector, the explainer and what to explain.
        out: folder of the explanation, its report and the fitted explainer.
        tell: takes what a user should know of the explainer, a sentence at a time.

    Raises:
        UserError: see `explainer_for` and `explain_images`.
    """
    for path in images:  # first, as a misspelt name should not cost a training
        if not os.path.lexists(path):
            raise UserError(f"{path} does not exist; correct the name of the image or folder.")
    files = find_images(images)
    config, explainer = options.explain, explainer_for(options, out, files, tell)
    improvement = None
    if config.refine or config.thrift:
        if config.refine:
            require_refinement(explainer.editor.name)
        improvement = partial(
            improve,
            explainer,
            refine_config=RefineConfig() if config.refine else None,
            thrift_config=ThriftConfig() if config.thrift else None,
        )
    how = Streaming(
        which="all" if config.all else "flagged",
        min_score=config.min_score,
        on_bad=config.on_bad_image,
        traversal_steps=config.traversal_steps,
        index=config.index,
        of=config.of,
        fresh=config.fresh,
        facts={} if improvement is None else {"refine": config.refine, "thrift": config.thrift},
    )
    independent = second_opinion_for(options, out, explainer, tell)
    summary = explain_images(explainer, files, out, how, improvement, independent)
    if summary.is_complete and not summary.counts.images:
        raise UserError(
            f"None of the {len(files)} files can be explained; {out / 'report.html'} says why."
        )
    return summary
