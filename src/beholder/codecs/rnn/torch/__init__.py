"""The codec as torch modules: training and export need them, and latent optimisation above alpha 0."""
