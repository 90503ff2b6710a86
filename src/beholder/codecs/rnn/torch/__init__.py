"""The codec as torch modules, for training and export alone.

- :mod:`.model` on :mod:`.transform`, :mod:`.quantiser`, :mod:`.layers` -- analysis, quantiser, recurrence, synthesis.
- :mod:`.human_refinement`, :mod:`.machine_refinement` on :mod:`.refinement` -- the networks that refine pictures.
- :mod:`.amortised_step` -- the encoder's learned step.
- :mod:`.entropy` -- trainable entropy models.
- :mod:`.human_distortion`, :mod:`.machine_distortion`, :mod:`.objective` -- losses; optimised latents to learn from.
- :mod:`.weights` -- weights to go on with or to begin from.
"""
