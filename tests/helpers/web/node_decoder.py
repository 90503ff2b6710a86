"""The browser's decoder under Node, and a comparison of what it decodes with Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import numpy as np

import beholder
from beholder import weights
from beholder.codecs.rnn import bitstream, onnx_model
from beholder.codecs.rnn.layout import BLOCK, ITERATIONS
from beholder.codecs.rnn.residual import geometry
from beholder.codecs.rnn.residual.coder import Decoder
from beholder.serve.static_site import MODEL_NAME, write_site

NODE = shutil.which("node")
SCRIPT = Path(__file__).with_name("decode.mjs")


class NodeDecoder:
    """The module in ``folder`` with one model, in a process that decodes until the context ends.

    Args:
        folder: an empty folder, for the module and its results.
        model: folder of a codec model; None for the model that ships.
    """

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        write_site(folder, model)
        (folder / "package.json").write_text('{"type": "module"}')
        self.folder, self.model = folder, model
        self.errors = (folder / "errors.txt").open("w+", encoding="utf-8")
        command = [str(part) for part in (NODE, SCRIPT, folder, folder / MODEL_NAME, folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)
        self.errors.close()

    def decode(self, *files: Path) -> list[dict[str, Any]]:
        """What the script prints for each file, with its pixels (height, width, 4) and codes."""
        results = [json.loads(self._answer(str(file))) for file in files]
        for file, result in zip(files, results, strict=True):
            if "error" not in result:
                pixels = np.fromfile(self.folder / f"{file.name}.rgba", np.uint8)
                result["pixels"] = pixels.reshape(result["height"], result["width"], 4)
                result["codes"] = np.fromfile(self.folder / f"{file.name}.codes", "<i4")
                result["residual"] = np.fromfile(self.folder / f"{file.name}.residual", "<i2")
        return results

    def _answer(self, line: str) -> str:
        """The line that the process prints for ``line``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait(timeout=60)
            self.errors.seek(0)
            raise AssertionError(f"the decoder ended with {self.process.returncode}: {self.errors.read()}")
        return answer

    def check(self, data: bytes, result: dict[str, Any]) -> None:
        """Assert that codes are those of Python, and pixels within 1/255."""
        assert "error" not in result, result
        assert np.array_equal(result["codes"], self.codes_of(data).ravel())
        assert np.array_equal(result["residual"], self._residual(data))
        image = beholder.decompress(data, model=self.model, quality=result["segments"])
        wanted = np.asarray(image.convert("L" if image.mode == "LA" else "RGB").convert("RGB"), int)
        assert np.abs(result["pixels"][:, :, :3] - wanted).max() <= 1

    def _residual(self, data: bytes) -> np.ndarray:
        """The residual's codes that Python decodes, tile by tile."""
        stream = bitstream.read(data)
        if not (segments := stream.segments[ITERATIONS:]):
            return np.empty(0, np.int16)
        decoder, activity = Decoder(segments), self.codes_of(data)[0].astype(np.int16)
        areas = geometry.tiles(*geometry.size_in_blocks(stream.height, stream.width))
        planes = 1 if stream.grey else 3
        return np.concatenate([decoder.next(planes, geometry.activities(activity, a)).ravel() for a in areas])

    def codes_of(self, data: bytes) -> np.ndarray:
        """The integers that Python decodes, (channels, height, width)."""
        model = onnx_model.load(self.model or weights.CODEC)
        stream = bitstream.read(data)
        now = np.zeros((model.latent, -(-stream.height // BLOCK), -(-stream.width // BLOCK)), np.int64)
        for t, segment in enumerate(stream.segments[:ITERATIONS]):
            model.entropy.decode(segment, now, t)
        return now
