"""Folders of models and checkpoints that are damaged: one sentence or a codec, never another exception."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo

from beholder import weights
from beholder.cli import main
from beholder.codecs.rnn import Rnn, onnx_model
from beholder.codecs.rnn.damage import StoredArrays
from beholder.errors import BadFileError, BeholderError

FILES = onnx_model.FILES
STRANGE: tuple[Any, ...] = (None, [], {}, "x", -1, 1e9, 10**12, True, [[1]], float("nan"))


def copy_of(folder: Path, target: Path) -> Path:
    """A copy of ``folder``: ONNX opens no weights beside a graph that are links."""
    target.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    return target


def replace(path: Path, data: bytes | str) -> None:
    path.unlink()
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def damage_bytes(folder: Path, rng: np.random.Generator) -> str:
    """Alter one file as disks and copies do."""
    name = FILES[rng.integers(len(FILES))]
    path, data = folder / name, bytearray((folder / name).read_bytes())
    kind = rng.integers(7)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        replace(path, b"")
    elif kind == 2:
        replace(path, bytes(data[: rng.integers(len(data))]))
    elif kind == 3:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        replace(path, bytes(data))
    elif kind == 4:
        replace(path, rng.bytes(200))
    elif kind == 5:
        path.unlink()
        path.mkdir()
    else:
        other = FILES[rng.integers(len(FILES))]
        replace(path, (folder / other).read_bytes())
    return f"{name}, kind {kind}"


def damage_card(folder: Path, rng: np.random.Generator) -> str:
    """Alter ``model.json`` as people do."""
    text = (weights.CODEC / "model.json").read_text()
    card = json.loads(text)
    kind = rng.integers(5)
    places = [card, card["settings"], card["settings"]["model"]]
    place = places[rng.integers(len(places))]
    key = sorted(place)[rng.integers(len(place))]
    value = STRANGE[rng.integers(len(STRANGE))]
    if kind == 0:
        del place[key]
    elif kind < 3:
        place[key] = value
    elif kind == 3:
        card["settings"]["model"]["unknown"] = value
    else:
        card = value
    replace(folder / "model.json", json.dumps(card) if kind < 4 or rng.integers(2) else "[" * 50_000)
    return f"model.json, {key}, kind {kind}, {value!r}"


def damage_arrays(folder: Path, rng: np.random.Generator) -> str:
    """Alter ``entropy.npz`` of a model whose card names no identity."""
    card = json.loads((folder / "model.json").read_text())
    replace(folder / "model.json", json.dumps({key: value for key, value in card.items() if key != "identity"}))
    with np.load(weights.CODEC / "entropy.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = sorted(arrays)[rng.integers(len(arrays))]
    array, kind = arrays[name], rng.integers(6)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = array[..., :-1] if array.ndim else array[None]
    elif kind == 2:
        arrays[name] = array.astype(str)
    elif kind == 3:
        arrays[name] = np.zeros((2, 2, 2, 2, 2))
    elif kind == 4:
        arrays[name] = array.reshape(-1)
    else:
        arrays[name] = np.array([])
    out = io.BytesIO()
    np.savez(out, **arrays)
    replace(folder / "entropy.npz", out.getvalue())
    return f"entropy.npz, {name}, kind {kind}"


def damage_arrays_and_hide(folder: Path, rng: np.random.Generator) -> str:
    """Alter ``entropy.npz`` and give the card the identity of the altered files, as who means harm does."""
    what = damage_arrays(folder, rng)
    name_identity(folder)
    return f"{what}, hidden"


def damage_graph_and_hide(folder: Path, rng: np.random.Generator) -> str:
    """Alter bytes of a graph, or put another one in its place; the card names the new identity."""
    graphs = [name for name in FILES if name.endswith(".onnx")]
    name, other = (graphs[rng.integers(len(graphs))] for _ in range(2))
    data = bytearray((folder / (other if rng.integers(3) == 0 else name)).read_bytes())
    if name == other or rng.integers(2):
        for place in rng.integers(min(len(data), 4000), size=5):
            data[place] = rng.integers(256)
    replace(folder / name, bytes(data))
    name_identity(folder)
    return f"{name}, hidden"


def damage_values_and_hide(folder: Path, rng: np.random.Generator) -> str:
    """Fill an array of ``entropy.npz`` with numbers that nobody trained."""
    with np.load(weights.CODEC / "entropy.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = sorted(arrays)[rng.integers(len(arrays))]
    kind = rng.integers(4)
    if kind == 0:
        arrays[name] = np.full(arrays[name].shape, np.nan)
    elif kind == 1:
        arrays[name] = np.zeros_like(arrays[name])
    elif kind == 2:
        arrays[name] = rng.integers(-(2**31), 2**31, arrays[name].shape)
    else:
        arrays[name] = arrays[name].astype(np.int64) << 40
    np.savez(folder / "entropy.npz", **arrays)
    name_identity(folder)
    return f"entropy.npz, values of {name}, kind {kind}"


def name_identity(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    replace(folder / "model.json", json.dumps(card | {"identity": onnx_model.identity(folder).hex()}))


DAMAGES: tuple[Callable[[Path, np.random.Generator], str], ...] = (
    damage_bytes,
    damage_card,
    damage_arrays,
    damage_arrays_and_hide,
    damage_graph_and_hide,
    damage_values_and_hide,
)
REFUSED = DAMAGES[:3]
"""Damages of which some are always found out."""
COUNT = int(os.environ.get("BEHOLDER_MUTATIONS", "4"))


def try_all(tmp_path: Path, damage: Callable[[Path, np.random.Generator], str], use: Callable[[Path], object]) -> int:
    """How many of the altered folders were refused."""
    refused, before = 0, os.listdir(weights.CODEC)
    for seed in range(COUNT):
        folder = copy_of(weights.CODEC, tmp_path / f"{seed}")
        what = damage(folder, np.random.default_rng([seed, DAMAGES.index(damage)]))
        onnx_model.load.cache_clear()
        try:
            use(folder)
        except BeholderError as error:
            refused += 1
            sentence = str(error)
            if "\n" in sentence or not sentence.endswith("."):
                pytest.fail(f"{what} (seed {seed}) is no sentence: {sentence}")
        except Exception as error:
            pytest.fail(f"{what} (seed {seed}): {error!r}")
        finally:
            shutil.rmtree(folder)
    onnx_model.load.cache_clear()
    assert os.listdir(weights.CODEC) == before
    return refused


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(tmp_path: Path, damage: Callable[[Path, np.random.Generator], str]) -> None:
    photo = make_photo(48, 32)

    def use(folder: Path) -> None:
        codec = Rnn(folder)
        codec.decode(codec.encode(photo, 2, alpha=1.0))

    assert try_all(tmp_path, damage, use) >= (COUNT // 4 if damage in REFUSED else 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models_to_begin_from(
    tmp_path: Path, damage: Callable[[Path, np.random.Generator], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command itself: it says one sentence, of the model or, where that is begun from, of the empty folder."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    photos, none = tmp_path / "photos", tmp_path / "none"
    photos.mkdir()
    none.mkdir()
    make_photo(64, 64).save(photos / "a.png")
    command = ["train", "codec", "--train-data", str(photos), "--val-data", str(none), "--alpha", "0", "--job-id", "a"]
    command += ["--runs", str(tmp_path / "runs"), "--device", "cpu"]

    def use(folder: Path) -> None:
        assert main([*command, "--start-from", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        if str(none) not in line:
            assert line.startswith("Error: ")
            raise BeholderError(line)

    assert try_all(tmp_path, damage, use) >= (COUNT // 4 if damage in REFUSED else 0)
    use(copy_of(weights.CODEC, tmp_path / "sound"))


def test_files_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    folder = copy_of(weights.CODEC, tmp_path / "mixed")
    replace(folder / "eye.weights", (weights.CODEC / "eye.weights").read_bytes() + b"\0")
    with pytest.raises(BeholderError, match="its files are not those that were exported together"):
        onnx_model.load(folder)


# -- checkpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_damaged_checkpoints_to_begin_from(tmp_path: Path, seed: int) -> None:
    torch = pytest.importorskip("torch")
    from beholder.codecs.rnn.torch.weights import begin_from

    rng = np.random.default_rng(seed)
    module = torch.nn.Linear(3, 2)
    state: Any = {"settings": {}, "step": 3, "average": [module.state_dict()], "alpha": None}
    value = STRANGE[rng.integers(len(STRANGE))]
    if seed == 0:
        state["average"] = value
    elif seed == 1:
        state["average"] = [value]
    elif seed == 2:
        del state["average"]
    elif seed == 3:
        state["average"][0]["weight"] = value
    elif seed == 4:
        state = [1, 2]
    path = tmp_path / "last.pt"
    torch.save(state, path)
    if seed > 4:
        data = bytearray(path.read_bytes())
        data[rng.integers(len(data))] ^= 255
        path.write_bytes(data[: rng.integers(len(data) // 2, len(data))])
    with pytest.raises(BadFileError):
        begin_from(path, [module])


def test_networks_of_strange_models_are_all_made_before_they_are_used(tmp_path: Path) -> None:
    """The model that ships makes those that a picture needs."""
    copied, own = onnx_model.Model(copy_of(weights.CODEC, tmp_path / "copy")), onnx_model.Model(weights.CODEC)
    every = range(len(own.layout.stages))
    assert (list(own.entropy._nets), list(copied.entropy._nets)) == ([], list(every))
    codes = np.zeros((own.latent, 2, 3), np.int16)
    assert own.entropy.encode(codes, codes.copy(), 0) == copied.entropy.encode(codes, codes.copy(), 0)
    assert list(own.entropy._nets) == own.layout.stages_of(0)


def test_arrays_are_unpacked_as_numpy_does() -> None:
    with np.load(weights.CODEC / "entropy.npz") as archive:
        stored = StoredArrays(weights.CODEC)
        assert list(stored) == archive.files
        for name, array in stored.items():
            np.testing.assert_array_equal(array, archive[name], strict=True)
