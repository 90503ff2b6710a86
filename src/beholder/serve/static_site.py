"""The browser's decoder as a folder of static files: the page, its module, and a model."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

from beholder import weights
from beholder.errors import OutputError
from beholder.files import save_atomically
from beholder.serve.web_model import web_model

DECODER = Path(str(resources.files("beholder"))) / "serve" / "decoder"
"""The page and its module, built from ``web/``."""
MODEL_NAME = "model.bin"


@functools.cache
def default_web_model() -> bytes:
    """The model that ships, for the browser."""
    return web_model(weights.CODEC)


def write_site(folder: Path, model: Path | None = None, *, force: bool = False) -> list[Path]:
    """Write everything that decodes ``.bhd`` files in a browser.

    Args:
        folder: any folder that a web server shows; created with its parents.
        model: folder of a codec model; None for the model that ships.
        force: overwrite files of an earlier call.

    Returns:
        The files.

    Raises:
        BadOptionError: ``model`` is no codec model.
        OutputError: ``folder`` cannot be written, or holds a file of the same name.
    """
    contents = {path.name: path.read_bytes() for path in sorted(DECODER.iterdir()) if path.is_file()}
    contents[MODEL_NAME] = default_web_model() if model is None else web_model(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be created ({error.strerror}): choose another folder.") from None
    taken = [name for name in contents if (folder / name).exists()]
    if taken and not force:
        raise OutputError(f"{folder / taken[0]} exists already: choose another folder, or overwrite with --force.")
    for name, data in contents.items():
        save_atomically(folder / name, data)
    return [folder / name for name in contents]
