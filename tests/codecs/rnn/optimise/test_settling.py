"""Codes between whole numbers are rounded for good before the last rounds, and files gain by it."""

from dataclasses import replace

import numpy as np
from helpers.photos import make_photo

from beholder.codecs.rnn import onnx_model
from beholder.codecs.rnn.optimise import loop
from beholder.codecs.rnn.optimise.human import HumanObjective, schedule_for
from beholder.codecs.rnn.optimise.ms_ssim import MsSsimDistortion


def test_the_nearer_half_settles() -> None:
    rng = np.random.default_rng(3)
    codes = rng.uniform(-3, 3, (2, 5, 8, 8)).astype(np.float32)
    moving = (rng.random(codes.shape) < 0.8).astype(np.float32)
    found, still = loop._settle(codes, moving, 0.1)
    settled = (moving > 0) & (still == 0)
    assert np.array_equal(found[settled], np.round(codes[settled]))
    assert np.array_equal(found[~settled], codes[~settled])
    away = np.abs(codes - np.round(codes))
    for n in range(2):
        undecided = (moving[n] > 0) & (away[n] > away[n][settled[n]].min())
        assert abs(int(settled[n].sum()) - int(undecided.sum()) / 2) <= 1
        assert away[n][settled[n]].max() < away[n][undecided & ~settled[n]].min()
    assert not still[moving == 0].any()


def test_files_gain() -> None:
    """By rounded codes, with their exact rate, at the multiplier that the optimisation has."""
    model, t = onnx_model.load(), 3
    pixels = np.ascontiguousarray(np.asarray(make_photo(160, 144, seed=7)).transpose(2, 0, 1))
    gains = [model.steps.gain(0.0, i, t + 1) for i in range(t + 1)]
    start = model.analyse(pixels, 0.0)[None]
    objective = HumanObjective(model, t, MsSsimDistortion, pixels)
    weight: list[float] = []

    def cost(settling: int) -> float:
        schedule = replace(schedule_for(2, "ms-ssim"), settling=settling, guarded=False)
        found = loop.descend(objective, start, np.ones_like(start[:, :1]), gains, 0.0, schedule)
        latents = [np.trunc(found * gain) for gain in gains]
        bits = float(objective.rate_estimate(latents).bits(latents)[0])
        weight.append(schedule.human_lambda[t] / bits)
        return weight[0] * bits + float(objective.distortion(latents)[0])

    assert cost(6) < cost(0)
