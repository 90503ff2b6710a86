"""`beholder export`: a checkpoint becomes the folder that the torch-free runtime loads.

Networks go to ONNX with weights stored as 16-bit floats (computed with as 32-bit), the entropy model to
integers.  Before anything is written in its place, the result is compared with torch on a picture.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beholder.codecs.rnn import decoder, encoder, onnx_model
from beholder.codecs.rnn.damage import one_sentence
from beholder.codecs.rnn.entropy.coder import EntropyModel
from beholder.codecs.rnn.entropy.rounding import ACTIVATION_SCALE, WEIGHT_SCALE
from beholder.codecs.rnn.entropy.tables import laplace_tables
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.codecs.rnn.torch.entropy.integers import IntLayer
from beholder.codecs.rnn.torch.entropy.models import ContextModel, StageContext
from beholder.codecs.rnn.torch.entropy.pyramid import PyramidContext
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec
from beholder.codecs.rnn.torch.weights import load_checkpoint
from beholder.errors import BadFileError, BadOptionError, OutputError
from beholder.files import temporary_folder
from beholder.training.codec.fit_tables import fit_tables
from beholder.training.codec.graphs import HALF_FROM, write_networks

STEPS = ("quantiser.log_ratio", "quantiser.searched_ratio")
SILENT = 0.005
"""Corrections (:func:`correction`) that vary less are none."""


def export_codec(
    checkpoint: Path,
    output: Path,
    entropy: Path | None = None,
    photos: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the model folder ``output`` from a checkpoint of `beholder train codec`.

    Args:
        checkpoint: of the codec.
        output: a new folder, or that of a model to replace.
        entropy: checkpoint to take the entropy model from: decoder and entropy model learn from the same codes and
            may have been trained side by side.
        photos: a folder of photographs to whose codes the tables of probabilities are fitted (:mod:`.fit_tables`).
        progress: called while they are.

    Raises:
        BadImageError: there are no ``photos``.
        BadFileError: no checkpoint there, or the exported graphs do not agree with torch.
        BadOptionError: the architecture writes no files (`paper`), or the two checkpoints quantise differently.
        OutputError: ``output`` exists and is no model folder.
    """
    state = load_checkpoint(checkpoint)
    settings = state["settings"]
    if settings["architecture"] != "swift":
        raise BadOptionError("Only the architecture `swift` writes files: `paper` can be trained, not exported.")
    if output.exists() and not (output.is_dir() and (output / "model.json").exists()):
        raise OutputError(f"{output} exists and is no codec model: choose another --output.")
    with one_sentence(f"{checkpoint} is no whole checkpoint ({{reason}}): give a job's last.pt."):
        codec, context = restore(state)
    source = state if entropy is None else load_checkpoint(entropy)
    if entropy is not None:
        with one_sentence(f"{entropy} is no whole checkpoint ({{reason}}): give a job's last.pt."):
            context = _entropy_of(source, codec)
    output.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(output.parent) as temporary:
        folder = temporary / "model"
        folder.mkdir()
        write_networks(codec, folder)
        np.savez_compressed(folder / "entropy.npz", **freeze(codec, context))  # type: ignore[arg-type]
        (folder / "model.json").write_text("{}")
        if photos is not None:
            fit_tables(folder, photos, progress=progress)
        card = {
            "architecture": "swift",
            "identity": onnx_model.identity(folder).hex(),
            "parameters": sum(p.numel() for m in (codec, context) for p in m.parameters()),
            "alpha": state["alpha"],
            "steps": state["step"],
            "settings": settings,
            "entropy_steps": source["step"],
            "entropy_settings": source["settings"],
        }
        if codec.synthesis.machine_network is not None:
            card["correction"] = round(correction(codec), 4)
        (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        verify(codec, onnx_model.Model(folder))
        if output.exists():
            for kept in output.iterdir():  # such as a README.md
                if not (folder / kept.name).exists() and kept.is_file():
                    shutil.copy2(kept, folder / kept.name)
            output.rename(temporary / "old")
        folder.rename(output)
    return output


def restore(state: dict[str, Any]) -> tuple[LappedTransformCodec, ContextModel]:
    """Codec (weights rounded to 16-bit floats) and entropy model with the averaged weights.

    Raises:
        BadFileError: the checkpoint is of another version.
    """
    config = CodecConfig(**state["settings"]["model"])
    codec = LappedTransformCodec(config)
    context = ContextModel(codec.layout, config.context)
    for module, saved in zip((codec, context), state["average"], strict=True):
        try:
            module.load_state_dict(saved)
        except RuntimeError:
            raise BadFileError(
                "The checkpoint is of another version of beholder: begin a job with --start-from it, and export that."
            ) from None
        module.eval().requires_grad_(False)
    for tensor in (*codec.parameters(), *codec.buffers()):
        tensor.copy_(_rounded(tensor))
    context.set_quantise(True)
    return codec, context


def _entropy_of(state: dict[str, Any], codec: LappedTransformCodec) -> ContextModel:
    """The entropy model of a checkpoint whose encoder writes the same codes as ``codec``'s."""
    theirs, weights = state["average"]
    ours = codec.state_dict()
    encoder = [name for name in ours if name.startswith("analysis.") or name in STEPS]
    if not all(name in theirs and torch.equal(ours[name], _rounded(theirs[name])) for name in encoder):
        raise BadOptionError("The two checkpoints have different encoders: give --entropy one for the same codes.")
    context = ContextModel(codec.layout, state["settings"]["model"]["context"])
    context.load_state_dict(weights)
    context.eval().requires_grad_(False).set_quantise(True)
    return context


def _rounded(tensor: Tensor) -> Tensor:
    """As the files store it: large tensors in 16-bit floats."""
    return tensor.half().float() if tensor.numel() >= HALF_FROM else tensor


def freeze(codec: LappedTransformCodec, context: ContextModel) -> dict[str, NDArray[Any]]:
    """The arrays of ``entropy.npz``, of any shape: integer weights, tables, quantiser gains."""
    tables, half_widths = laplace_tables()
    arrays: dict[str, NDArray[Any]] = {
        "sizes": np.array([codec.layout.latent, codec.config.hidden], np.int32),
        "layout": codec.layout.rows(),
        "passes": codec.layout.passes(),
        "log_ratio": codec.quantiser.log_ratio.numpy(),
        "centroid": codec.quantiser.centroid.detach().numpy(),
        "searched": codec.quantiser.searched.detach().numpy(),
        "searched_ratio": codec.quantiser.searched_ratio.numpy(),
        "tables": tables,
        "reach": half_widths.astype(np.int32),
        "adapts": np.array(True),
    }
    unit = WEIGHT_SCALE * ACTIVATION_SCALE
    for stage, model in enumerate(context.stages):
        assert isinstance(model, StageContext | PyramidContext)
        by_pass = _integers(model.by_pass, unit, np.int32)
        if (
            isinstance(model, StageContext)
            and model.spread_before is not None
            and model.spread_before.conv.bias is not None
        ):  # its bias is one more term of every pass
            by_pass = by_pass + _integers(model.spread_before.conv.bias, unit, np.int32)
        arrays[f"{stage}.by_pass"] = by_pass
        if isinstance(model, StageContext) and model.refines:
            arrays[f"{stage}.state_mean"] = _integers(model.state_mean, unit, np.int32)
            arrays[f"{stage}.state_scale"] = _integers(model.state_scale, unit, np.int32)
        for name, layer in model.named_children():
            if not isinstance(layer, IntLayer):
                continue
            weight = _integers(layer.conv.weight, WEIGHT_SCALE, np.int16)
            if weight.shape[2:] == (1, 1):
                weight = weight[:, :, 0, 0]
            elif name in ("neighbours", "activity", "own"):  # depthwise
                weight = weight[:, 0]
            arrays[f"{stage}.{name}.weight"] = weight
            if layer.conv.bias is not None and name != "spread_before":
                arrays[f"{stage}.{name}.bias"] = _integers(layer.conv.bias, unit, np.int32)
    return arrays


def _integers(tensor: Tensor, unit: int, dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    values = np.round(tensor.detach().numpy().astype(np.float64) * unit)
    limits = np.iinfo(dtype)
    if values.max() > limits.max or values.min() < limits.min:
        raise BadFileError("The entropy model's weights are too large for the file format: train it longer.")
    return values.astype(dtype)


@torch.no_grad()
def verify(codec: LappedTransformCodec, model: onnx_model.Model) -> None:
    """Encode a synthetic picture with ONNX, decode its codes with torch: within 1/255, every quality.

    Raises:
        BadFileError: they differ by more.
    """
    pixels = _picture()
    for alpha in (0.0, 1.0):
        segments = encoder.encode(model, pixels, alpha, ITERATIONS)
        for iterations in (1, ITERATIONS):
            height, width = (side // BLOCK for side in pixels.shape[1:])
            ours = decoder.decode(model, segments[:iterations], height, width, alpha)
            theirs = decode_with_torch(codec, model.entropy, segments[:iterations], pixels.shape[1:], alpha)
            worst = int(np.abs(ours.astype(int) - theirs.astype(int)).max())
            if worst > 1:
                raise BadFileError(
                    f"The exported graphs differ from torch by {worst}/255: report this with your versions."
                )


@torch.no_grad()
def correction(codec: LappedTransformCodec) -> float:
    """Standard deviation of the machine's corrections over a picture, in units of the expected error: near 0
    where training has silenced it.  ``codec`` has such a network."""
    network = codec.synthesis.machine_network
    assert network is not None
    alpha = torch.ones(1)
    y_hats = [y_hat for _, y_hat in codec.encode(torch.from_numpy(_picture())[None].float() / 255, alpha)]
    found: list[Tensor] = []
    hook = network.leave.register_forward_hook(lambda module, inputs, output: found.append(output))
    codec.decode(y_hats, alpha, torch.tensor([ITERATIONS // 2]))
    hook.remove()
    inner = found[0][:, :, 8:-8, 8:-8]  # at the borders zeros from outside make a difference
    return float(inner.std((2, 3)).mean())


@torch.no_grad()
def decode_with_torch(
    codec: LappedTransformCodec,
    entropy: EntropyModel,
    segments: list[bytes],
    size: tuple[int, ...],
    alpha: float,
    optimised_for: int = 0,
) -> NDArray[np.uint8]:
    """Decode segments with the torch networks, (h, w, 3) uint8: the reference that the runtime must match."""
    blocks = (size[0] // BLOCK, size[1] // BLOCK)
    hidden = torch.zeros(1, codec.config.hidden, *blocks)
    y_hat = torch.zeros(1, codec.layout.latent, *blocks)
    state = np.zeros((codec.layout.latent, *blocks), np.int64)
    observer = torch.tensor([alpha])
    t = torch.zeros(1, dtype=torch.long)
    for i, segment in enumerate(segments):
        entropy.decode(segment, state, i)
        t = torch.tensor([i])
        integers = torch.from_numpy(state[None]).float()
        y_hat = codec.quantiser.dequantise(integers, observer, t, torch.tensor([optimised_for]))
        hidden = codec.recurrence(y_hat, hidden, observer, t)
    image = codec.synthesis(y_hat, hidden, observer, t, torch.tensor([optimised_for]))[0].clamp(0, 1)
    return torch.round(image * 255).to(torch.uint8).numpy().transpose(1, 2, 0)


def _picture() -> NDArray[np.uint8]:
    """A picture with smooth, textured and sharp regions, (3, 96, 128)."""
    y, x = np.mgrid[0:96, 0:128]
    noise = np.random.default_rng(0).normal(0, 12, (3, 96, 128))
    waves = 60 * np.sin(x / 7) * np.cos(y / 11) + 40 * (x > 64)
    return np.clip(110 + waves + noise * (y > 48), 0, 255).astype(np.uint8)
