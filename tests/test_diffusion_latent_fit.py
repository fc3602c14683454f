"""Training of the latent generator: resumed it is the same, and only with the same detector."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.explainers.diffusion.latent_fit import fit_latent_generator
from ifnormal.explainers.diffusion.latent_generator import LatentGenerator
from ifnormal.training import stage as stages
from test_diffusion_explainer import LATENT, Brightness, pictures
from tiny_backbones import tiny_backbone

CONFIG = replace(LATENT, steps=4, checkpoint_every=2)


class Lenient(Brightness):
    """Gives the same images lower scores."""

    def inspect(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_odds, mean = super().inspect(images)
        return log_odds - 1, mean


class StoppedError(Exception):
    pass


def fit(folder: Path, detector: Brightness, resume: bool = False) -> LatentGenerator:
    normal, outliers = pictures(6, False), pictures(6, True)
    return fit_latent_generator(
        tiny_backbone(), detector, normal, outliers, "a sign", CONFIG, 0, folder, resume
    )


def test_a_fit_that_was_broken_off_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(tmp_path / "whole", Brightness())
    save = stages._save

    def stop(stage, averaged, optimizers, random, step, folder):  # type: ignore[no-untyped-def]
        save(stage, averaged, optimizers, random, step, folder)
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(stages, "_save", stop)
        with pytest.raises(StoppedError):
            fit(tmp_path / "broken", Brightness())
    with pytest.raises(UserError, match="was made with another detector; give the same as then"):
        fit(tmp_path / "broken", Lenient(), resume=True)
    again = fit(tmp_path / "broken", Brightness(), resume=True).state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again[name]), name
