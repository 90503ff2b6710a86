"""A checkpoint becomes a model folder, and ONNX agrees with torch."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy_training import SIZES
from helpers.web.node_decoder import NODE, NodeDecoder
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from beholder import weights  # noqa: E402
from beholder.cli import main  # noqa: E402
from beholder.codecs.rnn import (  # noqa: E402
    Rnn,
    bitstream,
    onnx_model,
)
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS  # noqa: E402
from beholder.codecs.rnn.torch.model import CodecConfig, LappedTransformCodec  # noqa: E402
from beholder.codecs.rnn.torch.weights import load_checkpoint  # noqa: E402
from beholder.errors import BadFileError, BadOptionError, OutputError  # noqa: E402
from beholder.training.codec import export, graphs  # noqa: E402
from beholder.training.codec.export import SILENT, correction, decode_with_torch, export_codec, freeze, restore  # noqa: E402
from beholder.training.codec.run import CodecJob, CodecTraining  # noqa: E402

pytestmark = pytest.mark.xdist_group("export")  # one process, for its fixtures take half a minute

TINY = {
    "architecture": "swift",
    "model": SIZES | {"hidden": 8},
    "parts": [["entropy", 10]],
    "steps": 10,
    "phases": [{"until": 10, "crop": 64, "batch": 8}],
    "lr": 1e-3,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of no steps, its zero layers replaced by random ones so that everything matters."""
    folder = tmp_path_factory.mktemp("run")
    run = CodecTraining(CodecJob(folder, folder, "tiny", 0.0, TINY, folder))
    generator = torch.Generator().manual_seed(1)
    for module in run.average:
        for parameter in module.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    run.job.folder.mkdir()
    run.save()
    return run.checkpoint


@pytest.fixture(scope="module")
def adjoints_once() -> Iterator[None]:
    """The graphs of gradients, which the identity does not cover, are drawn by this module's first export alone."""
    kept: dict[type, Any] = {}
    draw = graphs._exported

    def draw_once(module: torch.nn.Module, *arguments: Any) -> Any:
        kind = type(module)
        model = kept.get(kind) or draw(module, *arguments)
        if kind in (graphs._HumanVjp, graphs._MachineVjp):
            kept[kind] = copy.deepcopy(model)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_exported", draw_once)
        yield


@pytest.fixture(scope="module")
def exported(checkpoint: Path, adjoints_once: None) -> Path:
    return export_codec(checkpoint, checkpoint.parent / "model")


def test_an_exported_model_reads_its_own_files_and_no_others(exported: Path, photo: Image.Image) -> None:
    own = Rnn(exported)
    data = own.encode(photo, 3)
    assert own.decode(data).size == photo.size
    with pytest.raises(BadFileError, match=own.model.identity.hex()):
        Rnn().decode(data)
    with pytest.raises(BadFileError, match="--model"):
        own.decode(Rnn().encode(photo, 1))


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.parametrize("quality", [1, 8])
def test_browsers_decode_an_exported_model(exported: Path, photo: Image.Image, tmp_path: Path, quality: int) -> None:
    """Nothing of the model that ships is known to the decoder for browsers: no size, no weight."""
    data = Rnn(exported).encode(photo, quality)
    file = tmp_path / "photo.bhd"
    file.write_bytes(data)
    with NodeDecoder(tmp_path / "site", exported) as decoder:
        decoder.check(data, *decoder.decode(file))


def test_exporting_twice_gives_the_same_identity(
    exported: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time by the command, and from a checkpoint for every observer."""
    state = load_checkpoint(checkpoint) | {"alpha": None}
    assert correction(restore(state)[0]) > SILENT
    torch.save(state, tmp_path / "alive.pt")
    assert main(["export", str(tmp_path / "alive.pt"), "-o", str(tmp_path / "alive")]) == 0
    assert "corrects nothing" not in capsys.readouterr().err
    assert onnx_model.identity(tmp_path / "alive") == onnx_model.identity(exported)


def test_silent_networks_are_noticed(
    checkpoint: Path,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that shipped until 2026-11 gave the same whatever they saw, and no loss showed it."""
    silenced = [f"synthesis.machine_network.{layer}.bias" for layer in ("code", "enter")]

    def copy_networks(_codec: LappedTransformCodec, folder: Path) -> None:  # to draw graphs takes most of a minute
        for file in (*exported.glob("*.onnx"), *exported.glob("*.weights")):
            shutil.copy(file, folder)
        graphs = onnx.load(folder / "synthesis.onnx")
        for name in silenced:
            (bias,) = (x for x in graphs.graph.initializer if x.name.removesuffix(".half") == f"codec.{name}")
            values = np.full_like(onnx.numpy_helper.to_array(bias), -1e4)
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(graphs, folder / "synthesis.onnx")

    state = load_checkpoint(checkpoint) | {"alpha": None}
    for name in silenced:
        state["average"][0][name].fill_(-1e4)
    assert correction(restore(state)[0]) < SILENT
    torch.save(state, tmp_path / "silent.pt")
    monkeypatch.setattr(export, "write_networks", copy_networks)
    assert main(["export", str(tmp_path / "silent.pt"), "-o", str(tmp_path / "silent")]) == 0
    assert "corrects nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("alpha", "optimised"), [(0.0, False), (0.0, True), (0.2, False), (0.2, True), (0.5, True), (1.0, False)]
)
def test_shipped_graphs_agree_with_torch(big_photo: Image.Image, alpha: float, optimised: bool) -> None:
    """The same bytes decode to the same pixels within 1/255, torch holding the shipped weights."""
    codec = Rnn()
    torch_codec = load_shipped(codec.model)
    for quality in (1, 5, ITERATIONS):
        data = codec.encode(big_photo, quality, alpha=alpha)
        stream = bitstream.read(data)
        stream.optimised = optimised
        data = bitstream.write(stream)
        size = tuple(-(-n // BLOCK) * BLOCK for n in (stream.height, stream.width))
        observer = stream.alpha, stream.optimised_for
        theirs = decode_with_torch(torch_codec, codec.model.entropy, stream.segments, size, *observer)
        ours = np.asarray(codec.decode(data)).astype(int)
        assert np.abs(ours - theirs[: stream.height, : stream.width]).max() <= 1


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_model_without_its_weights_says_so(tmp_path: Path, photo: Image.Image, harm: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(weights.CODEC, folder)
    data = (folder / onnx_model.HUMAN_WEIGHTS).read_bytes()
    (folder / onnx_model.HUMAN_WEIGHTS).unlink()
    if harm == "cut":
        (folder / onnx_model.HUMAN_WEIGHTS).write_bytes(data[:1000])
    damaged = Rnn(folder)
    with pytest.raises(BadOptionError, match=r"export it again|lacks eye\.weights"):
        damaged.decode(damaged.encode(photo, 1))


def test_from_the_eye_to_a_machine_there_is_no_jump(big_photo: Image.Image) -> None:
    """Codes of one kind, drawn for neighbouring alphas: pictures change little by little."""
    model = Rnn().model
    pixels = np.asarray(big_photo)[: 12 * BLOCK, : 15 * BLOCK].transpose(2, 0, 1)
    y_hat = model.steps.dequantise(model.steps.quantise(model.analyse(pixels, 0.0), 0.0, 1), 0.0, 1)
    memory = model.recur(y_hat, np.zeros((model.hidden, *y_hat.shape[1:]), np.float32), 0.2, 1)
    alphas = (0.0, 0.01, 0.25, 0.49, 0.5)
    eye, near, half, almost, machine = (model.synthesise(y_hat, memory, a, 1).astype(float) for a in alphas)
    whole = np.abs(machine - eye).mean()
    assert whole > 0.5
    assert np.abs(near - eye).mean() < 0.1 * whole
    assert np.abs(machine - almost).mean() < 0.1 * whole
    assert 0.2 * whole < np.abs(half - eye).mean() < 0.8 * whole


def test_a_checkpoint_of_before_is_one_sentence(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load_checkpoint(checkpoint)
    del state["average"][0]["quantiser.searched"]
    torch.save(state, tmp_path / "former.pt")
    assert main(["export", str(tmp_path / "former.pt"), "-o", str(tmp_path / "model")]) == 2
    assert "another version of beholder" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    job = CodecJob(tmp_path, tmp_path, "on", 0.0, TINY, tmp_path, start=tmp_path / "former.pt")
    begun = CodecTraining(job).model.codec.quantiser.centroid
    assert torch.equal(begun, state["average"][0]["quantiser.centroid"])


def test_only_checkpoints_of_swift_are_exported(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(BadFileError, match="no checkpoint"):
        export_codec(tmp_path / "none.pt", tmp_path / "out")
    state = torch.load(checkpoint, weights_only=True)
    state["settings"]["architecture"] = "paper"
    torch.save(state, tmp_path / "paper.pt")
    with pytest.raises(BadOptionError, match="swift"):
        export_codec(tmp_path / "paper.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_model_is_not_overwritten(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    with pytest.raises(OutputError, match="choose another"):
        export_codec(checkpoint, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "keep me"


def load_shipped(model: onnx_model.Model) -> LappedTransformCodec:
    """A torch codec with the weights that stand in the shipped ONNX graphs."""
    codec = LappedTransformCodec(CodecConfig(**model.card["settings"]["model"]), model.layout)
    weights = {f"quantiser.{name}": torch.from_numpy(model.arrays[name]) for name in ("centroid", "searched")}
    weights["quantiser.log_ratio"] = torch.from_numpy(model.steps.log_ratio)
    weights["quantiser.searched_ratio"] = torch.from_numpy(model.arrays["searched_ratio"])
    weights["quantiser.fineness"] = codec.quantiser.fineness
    for part in ("analysis", "recurrence", "synthesis", "eye", "step"):
        for tensor in onnx.load(model.folder / f"{part}.onnx").graph.initializer:
            name = tensor.name.removesuffix(".half").removeprefix("codec.")
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype.kind == "f":
                weights[name] = torch.from_numpy(values.astype(np.float32))
    known = codec.state_dict()
    missing = [name for name, value in known.items() if name not in weights or weights[name].shape != value.shape]
    assert not missing, f"the graphs hold no weights called {missing}"
    codec.load_state_dict({name: weights[name] for name in known})
    return codec.eval()


def test_training_begins_from_an_exported_model_or_a_checkpoint(
    exported: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """What comes back is what was exported: codec to 16-bit floats, entropy model to its integers."""
    job = CodecJob(tmp_path, tmp_path, "on", 0.0, TINY, tmp_path)
    wanted = dict(CodecTraining(replace(job, start=checkpoint)).average[0].named_parameters())
    original = dict(
        CodecTraining(CodecJob(tmp_path, tmp_path, "tiny", 0.0, TINY, checkpoint.parents[1], True))
        .average[0]
        .named_parameters()
    )
    for name, value in wanted.items():
        assert torch.equal(value, original[name]), name
    run = CodecTraining(replace(job, start=exported))
    for name, value in run.average[0].named_parameters():
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-6, msg=name)
    again = freeze(run.average[0], run.average[1])
    with np.load(exported / "entropy.npz") as stored:
        for name in again:
            np.testing.assert_allclose(again[name], stored[name], rtol=1e-6, err_msg=name)


def test_other_architectures_weights_are_refused(exported: Path, tmp_path: Path) -> None:
    settings = {name: value for name, value in TINY.items() if name != "parts"}
    settings |= {"architecture": "paper", "model": {"iterations": 2, "width": 0.0625}}
    with pytest.raises(BadFileError, match="same architecture"):
        CodecTraining(CodecJob(tmp_path, tmp_path, "on", 0.0, settings, tmp_path, start=exported))
    with pytest.raises(BadFileError, match="no codec model"):
        CodecTraining(CodecJob(tmp_path, tmp_path, "on", 0.0, TINY, tmp_path, start=tmp_path))
