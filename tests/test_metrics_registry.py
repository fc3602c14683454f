import dataclasses
import subprocess
import sys

import pytest

from ifnormal.evaluation import METRICS


def test_keys_are_the_registered_names():
    assert all(key == metric.key for key, metric in METRICS.items())


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_facts_can_be_shown_to_a_reader(metric):
    assert metric.title
    assert metric.source
    assert metric.meaning.endswith(".")
    assert metric.unit in {"%", "s", "images/s", ""}
    assert metric.direction in {"higher", "lower", "nearer"}
    if metric.unit == "%" and metric.ideal is not None:
        assert 0 <= metric.ideal <= 100


def test_facts_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["fid_n"].paper = 1.0


def test_the_facts_are_read_without_torch():
    code = "import sys, ifnormal.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
