"""Weights to go on with or to begin from: checkpoints of `beholder train codec`, folders of `beholder export`.

So the codec that ships can be trained further on photographs of one's own.  Tensors that the new settings do not have,
or have in another shape, begin anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beholder.codecs.rnn.damage import one_sentence, read_arrays, read_card
from beholder.codecs.rnn.entropy.rounding import ACTIVATION_SCALE, WEIGHT_SCALE
from beholder.codecs.rnn.onnx_model import identity
from beholder.codecs.rnn.torch.entropy.models import ContextModel
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec
from beholder.errors import BadFileError

State = dict[str, Tensor]

_LARGEST_SIZE = 1024  # channels or blocks; ours has 192 at most


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's dictionary; BadFileError in one sentence if it is missing or no checkpoint."""
    if not path.is_file():
        raise BadFileError(f"There is no checkpoint {path}: train first, or check --job-id.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state["settings"], state["step"]
    except Exception:
        raise BadFileError(f"{path} is no checkpoint of `beholder train codec`: give its last.pt.") from None
    return state


def begin_from(path: Path, modules: list[nn.Module]) -> int:
    """Copy the weights in ``path`` into ``modules`` (codec, entropy model); how many tensors begin anew.

    Raises:
        BadFileError: ``path`` holds neither a checkpoint nor an exported codec, or one that shares no weight.
    """
    with one_sentence(f"{path} is no checkpoint of `beholder train codec` ({{reason}}): give its last.pt."):
        states = exported(path)[1] if path.is_dir() else load_checkpoint(path)["average"]
        return _copy(path, states, modules)


def _copy(path: Path, states: list[State], modules: list[nn.Module]) -> int:
    anew = shared = 0
    for module, state in zip(modules, states, strict=False):
        # Where coefficients are quantised, in a buffer, is the layout's and the transform's business, not learned.
        own, learned = module.state_dict(), dict(module.named_parameters())
        fitting = {name: x for name, x in state.items() if name in learned and learned[name].shape == x.shape}
        module.load_state_dict(own | fitting)
        anew += len(learned) - len(fitting)
        shared += len(fitting)
    if not shared:
        raise BadFileError(f"{path} shares no weights with these settings: give a codec of the same architecture.")
    return anew


def exported(folder: Path) -> tuple[CodecConfig, list[State]]:
    """Sizes, and the weights (of any shape) of codec and entropy model, of a folder that `beholder export` wrote.

    Raises:
        BadFileError: it holds no whole codec.
    """
    import onnx
    from onnx import numpy_helper

    with one_sentence(
        f"{folder} is no codec model ({{reason}}): give a folder that `beholder export` wrote, or a last.pt."
    ):
        config = CodecConfig(**read_card(folder, identity(folder))["settings"]["model"])
        _check_sizes(config)
        codec: dict[str, Any] = {}
        optional = ["step"] if (folder / "step.onnx").is_file() else []
        for network in ("analysis", "recurrence", "synthesis", "eye", *optional):
            for tensor in onnx.load(str(folder / f"{network}.onnx")).graph.initializer:
                name = tensor.name.removeprefix("codec.").removesuffix(".half")
                codec[name] = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        arrays = read_arrays(folder)
        for name in ("log_ratio", "centroid", "searched", "searched_ratio"):
            codec[f"quantiser.{name}"] = torch.from_numpy(arrays[name])
        own = LappedTransformCodec(config)
        names = own.state_dict()
        weights = {name: value.float() for name, value in codec.items() if name in names and value.is_floating_point()}
        return config, [weights, _floats(ContextModel(own.layout, config.context), arrays)]


def _check_sizes(config: CodecConfig) -> None:
    """Raise ValueError for sizes that no codec has: a network of them might fill the memory."""
    for name, value in config.as_dict().items():
        if type(value) is not int or not 0 <= value <= _LARGEST_SIZE:
            raise ValueError(f"its {name} is {str(value)[:50]}")


def _floats(context: ContextModel, arrays: dict[str, np.ndarray]) -> State:
    """Integers of ``entropy.npz`` -> the entropy model's weights."""
    state: State = {}
    for name, like in context.state_dict().items():
        _, stage, *rest = name.split(".")
        key = ".".join([stage, *(part for part in rest if part != "conv")])
        if key in arrays:
            unit = WEIGHT_SCALE * (1 if key.endswith("weight") else ACTIVATION_SCALE)
            state[name] = torch.from_numpy(arrays[key] / unit).float().reshape(like.shape)
        elif key.endswith("spread_before.bias"):  # exported as part of by_pass
            state[name] = torch.zeros_like(like)
    return state
