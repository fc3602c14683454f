"""Baselines: other methods of making counterfactuals, one per file."""

from ifnormal.benchmarks.baselines.latent_gradient import latent_gradient
from ifnormal.benchmarks.baselines.nearest_normal import nearest_normal

__all__ = ["latent_gradient", "nearest_normal"]
