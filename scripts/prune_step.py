"""Leave out the blocks of a codec model's learned step that do nothing.

    python scripts/prune_step.py src/beholder/weights/codec --data PHOTOS [--limit 16]

Training can leave a block of the step dead: its activations are zero nearly everywhere, so it adds a constant.  A block
that changes the values it adds to by less than a quarter (standard deviations, on photographs at all qualities) is left
out, and its mean becomes part of the bias before it.  Nothing that a decoder reads changes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from beholder.codecs.rnn.layout import ITERATIONS
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.model import LappedTransformCodec
from beholder.codecs.rnn.torch.weights import exported
from beholder.data.files import find_images
from beholder.files import save_atomically
from beholder.reading import load
from beholder.training.codec.graphs import draw
from beholder.training.codec.step import StepObjective

LEAST = 0.25
"""Standard deviation of what a block adds, as a fraction of that of what it adds to."""
SIDE = 256


@torch.no_grad()
def measure(codec: LappedTransformCodec, context: ContextModel, images: Tensor) -> list[tuple[float, Tensor]]:
    """For each block of the step, what :data:`LEAST` is compared with, and the mean that it adds, (width,).

    Args:
        codec: with a learned step.
        context: its entropy model.
        images: (N, 3, 16H, 16W) in [0, 1].
    """
    assert codec.step is not None
    found: list[tuple[float, Tensor]] = []
    values: dict[int, list[tuple[Tensor, Tensor]]] = {i: [] for i in range(len(codec.step.body))}

    def listen(number: int) -> Any:
        return lambda block, given, result: values[number].append((given[0].clone(), result - given[0]))

    handles = [block.register_forward_hook(listen(i)) for i, block in enumerate(codec.step.body)]
    for t in range(ITERATIONS):
        StepObjective(codec, context, images, t).propose()
    for handle in handles:
        handle.remove()
    for pairs in values.values():
        before, added = (torch.cat(parts).transpose(0, 1).flatten(1) for parts in zip(*pairs, strict=True))
        spread = [float(x.var(1).mean().sqrt()) for x in (added, before)]
        found.append((spread[0] / max(spread[1], 1e-9), added.mean(1)))
    return found


def pruned(codec: LappedTransformCodec, found: list[tuple[float, Tensor]]) -> LappedTransformCodec:
    """The codec without the blocks that ``found``, as :func:`measure` gives it, says do nothing."""
    assert codec.step is not None
    kept = [i for i, (ratio, _) in enumerate(found) if i == 0 or ratio >= LEAST]  # a bias comes before the others
    result = LappedTransformCodec(dataclasses.replace(codec.config, step_blocks=len(kept)))
    state = {name: x for name, x in codec.state_dict().items() if not name.startswith("step.body.")}
    for i, (_, mean) in enumerate(found):
        if i in kept:
            block = f"step.body.{kept.index(i)}"
            state |= {f"{block}.{name}": x for name, x in codec.step.body[i].state_dict().items()}
        else:
            state[f"{block}.second.bias"] = state[f"{block}.second.bias"] + mean
    result.load_state_dict(state)
    return result.eval().requires_grad_(False)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="as `beholder export` writes it")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--limit", type=int, default=16)
    options = parser.parse_args()
    config, states = exported(options.folder)
    codec = LappedTransformCodec(config)
    context = ContextModel(codec.layout, config.context)
    for module, state in zip((codec, context), states, strict=True):
        module.load_state_dict(module.state_dict() | state)
        module.eval().requires_grad_(False)
    paths = [options.data / name for name in find_images(options.data)[: options.limit]]
    squares = [np.asarray(ImageOps.fit(load(path).convert("RGB"), (SIDE, SIDE))) for path in paths]
    found = measure(codec, context, torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255)
    for number, (ratio, _) in enumerate(found):
        print(f"block {number + 1}: {ratio:.3f}")
    smaller = pruned(codec, found)
    save_atomically(options.folder / "step.onnx", draw(smaller, "step"))
    card = options.folder / "model.json"
    text = json.loads(card.read_text(encoding="utf-8"))
    text["settings"]["model"]["step_blocks"] = smaller.config.step_blocks
    text["parameters"] -= sum(p.numel() for p in codec.parameters()) - sum(p.numel() for p in smaller.parameters())
    save_atomically(card, (json.dumps(text, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
