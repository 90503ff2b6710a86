"""A codec model for the browser's decoder: one file with all that decodes pictures for people.

    4 bytes   "BHW1"
    4 bytes   length of the header, little-endian
              header: JSON with the model's identity, the stages of its entropy model, and name, type and shape of
              each array
              payload, deflated (zlib): the arrays in that order, byte planes one after the other, the lowest byte first

Signed integers alternate in sign (0, -1, 1, -2, ... become 0, 1, 2, 3, ...), so that their high bytes are mostly 0.
``web/src/model.ts`` reads it.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beholder.codecs.rnn import onnx_model
from beholder.codecs.rnn.entropy.pyramid import MASKS, before
from beholder.codecs.rnn.entropy.rounding import log_table
from beholder.codecs.rnn.entropy.tables import family
from beholder.codecs.rnn.layout import ITERATIONS, Layout
from beholder.codecs.rnn.residual import tables as residual_tables
from beholder.errors import BadOptionError
from beholder.serve.onnx_weights import read_weights

MAGIC = b"BHW1"
HUMAN_GRAPH = "eye.onnx"
FORMAT = 2
PREFIX, HALF = "codec.synthesis.", ".half"
"""Names of the weights in ``eye.onnx``: the module's path, and a suffix where they are stored as 16-bit floats."""
RESIDUAL = "residual."
"""Before the names of the residual layer's tables, which belong to the format and not to the model."""
NEEDED = ("eye_linear", "eye_borders", "step")
HEADER = ("sizes", "layout", "passes", "log_ratio", "adapts")
"""Arrays of ``entropy.npz`` that the header of the file, or another array, says better."""


def web_model(folder: Path) -> bytes:
    """The bytes of the file for the model in ``folder``.

    Raises:
        BadOptionError: the folder holds no complete model, or one without a picture network of a known kind.
    """
    model = onnx_model.load(folder)
    stored, layout = model.arrays, model.layout
    parts: dict[str, NDArray[Any]] = {name: stored[name] for name in stored if name not in HEADER}
    parts["log_ratio"] = model.steps.log_ratio
    parts["levels"] = np.stack([layout.levels(t) for t in range(ITERATIONS)])
    parts["log_table"], parts["masks"] = log_table(), MASKS
    parts |= _picture(folder)
    with np.load(residual_tables.FILE, allow_pickle=False) as archive:
        parts |= {f"{RESIDUAL}{name}": archive[name] for name in residual_tables.SHAPES}
    header: dict[str, Any] = {
        "format": FORMAT,
        "identity": model.identity.hex(),
        "latent": layout.latent,
        "adapts": bool(stored.get("adapts", False)),
        "least_bits": [model.entropy.least_bits(t, 1) for t in range(ITERATIONS)],
        "residual_least_bits": residual_tables.load().least_bits.tolist(),
        "stages": [_stage(layout, number) for number in range(len(layout.stages))],
    }
    listed, payload = [], bytearray()
    for name, values in parts.items():
        kind, data = _pack(values)
        listed.append({"name": name, "type": kind, "shape": list(values.shape)})
        payload += data
    text = json.dumps(header | {"arrays": listed}, separators=(",", ":")).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text + zlib.compress(bytes(payload), 9)


def _stage(layout: Layout, number: int) -> dict[str, Any]:
    stage = layout.stages[number]
    prior = layout.prior_channels(number)
    return {
        "iteration": stage.iteration,
        "channels": stage.channels.tolist(),
        "passes": stage.passes,
        "prior_channels": prior,
        "refinement": layout.refinement(number).tolist(),
        "step_in_finest_units": layout.step_in_finest_units(number)[:prior].tolist(),
        "family": family(layout, number).tolist(),
        "earlier": before(layout, number) if stage.pyramid else [],
    }


def _picture(folder: Path) -> dict[str, NDArray[Any]]:
    """The weights that draw pictures for people, by their names in the codec's synthesis."""
    weights = read_weights(folder / HUMAN_GRAPH)
    found = {
        name.removeprefix(PREFIX).removesuffix(HALF): values
        for name, values in weights.items()
        if name.startswith(PREFIX)
    }
    colours = [values for name, values in weights.items() if not name.startswith(PREFIX) and values.shape == (3, 3)]
    missing = [name for name in NEEDED if name not in found]
    if missing or len(colours) != 1:
        raise BadOptionError(
            f"{folder / HUMAN_GRAPH} lacks {missing[0] if missing else 'the colour matrix'}: export the model again."
        )
    for name in ("step", "eye_network.spread"):
        if name in found:
            found[name] = found[name].reshape(-1)
    return found | {"from_ycc": colours[0]}


def _pack(values: NDArray[Any]) -> tuple[str, bytes]:
    """The type and the byte planes of an array."""
    if values.dtype == np.uint16:
        kind, bits = "uint16", values
    elif values.dtype.kind in "iu":
        wide = values.astype(np.int64)
        small = values.dtype == np.int16
        kind = "int16" if small else "int32"
        bits = ((wide << 1) ^ (wide >> 63)).astype(np.uint16 if small else np.uint32)
    elif values.dtype == np.float16:
        kind, bits = "float16", values
    else:
        kind, bits = "float32", values.astype(np.float32)
    rows = np.ascontiguousarray(bits).astype(bits.dtype.newbyteorder("<")).reshape(-1)
    return kind, rows.view(np.uint8).reshape(rows.size, -1).T.tobytes()
