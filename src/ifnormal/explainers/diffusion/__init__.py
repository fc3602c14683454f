"""Counterfactuals in the latent space of a text-conditional diffusion model; needs `diffusers`."""
