"""The model card of an explainer: what the hub shows of it, as Markdown."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ifnormal.version import __version__

if TYPE_CHECKING:
    from ifnormal.explainers.explainer import Explainer


def model_card(explainer: Explainer, repo_id: str) -> str:
    """What is known about an explainer, as Markdown with the hub's metadata."""
    detector, config = explainer.detector, explainer.config
    channels, height, width = detector.shape
    known = {
        "Images": f"{height} x {width} pixels, {channels} channel{'s' if channels > 1 else ''}",
        "Detector": detector.facts.get("name", type(detector).__name__),
        "Decision threshold": f"{detector.own_threshold:.6g}, higher is {detector.higher_is}",
        "Concepts (ways of editing)": config.concepts,
        "Training": f"{config.steps} steps of {config.batch_size} images, seed {explainer.seed}",
        "Generator": ", ".join(f"{k} {v}" for k, v in asdict(config.generator).items()),
        "Parameters": f"{sum(p.numel() for p in explainer.generator.parameters()):,}",
        "Made with": f"ifnormal {__version__}",
    }
    rows = "\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in known.items())
    return f"""---
library_name: ifnormal
tags:
- anomaly-detection
- counterfactual-explanations
- explainability
---

# {repo_id.rpartition("/")[2]}

An explainer for one image anomaly detector: for an image that the detector flags it makes
counterfactuals, edited versions that the same detector takes for normal.

| | |
|---|---|
{rows}

```python
from ifnormal import Explainer

explainer = Explainer.from_pretrained("{repo_id}")
```

It explains the detector it was fitted to and no other; where that one is not saved here, give it as
`Explainer.from_pretrained("{repo_id}", detector)`. That the detector accepts a counterfactual does
not prove that it is normal: look at it, and let a second detector judge.
"""


def _cell(value: Any) -> str:
    """Whatever a detector is called, one cell of a table, without markup."""
    text = re.sub(r"\s+", " ", str(value))
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
