"""The model card of an explainer: what the hub shows of it, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ifnormal.version import __version__


def model_card(repo_id: str, known: Mapping[str, Any]) -> str:
    """What is known about an explainer, as Markdown with the hub's metadata.

    Args:
        repo_id: `owner/name` on the hub.
        known: a row of the table for each: its heading and its value.
    """
    facts = {**known, "Made with": f"ifnormal {__version__}"}
    rows = "\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in facts.items())
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
