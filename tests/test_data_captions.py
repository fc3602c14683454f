"""What images are called."""

import torch

from ifnormal.data.setups.captions import anomaly_names
from ifnormal.data.setups.setup import AnomalySetup


def test_names_have_no_slash() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    parts = dict.fromkeys(
        (
            *("train_normal", "validation_normal", "validation_anomalies", "test_normal"),
            *("test_anomalies", "outliers", "validation_outliers"),
        ),
        image,
    )
    setup = AnomalySetup(
        name="signs",
        normal="speed limits",
        **parts,
        attributes={"test_anomalies": {"class": torch.tensor([1])}},
        attribute_names={"class": ("stop", "speed limit (30km/h)")},
    )
    assert anomaly_names(setup) == ["speed limit (30km\N{DIVISION SLASH}h) (0)"]
