"""Baselines: other ways to a counterfactual, so that "better" means something. One file each."""

from ifnormal.baselines.latent_gradient import latent_gradient
from ifnormal.baselines.nearest_normal import nearest_normal

__all__ = ["latent_gradient", "nearest_normal"]
