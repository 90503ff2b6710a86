"""The decoder for browsers, under Node: Python's codes and pixels for every golden file, sentences for bad files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import make_photo
from helpers.web.node_decoder import NODE, NodeDecoder
from PIL import Image

import beholder
from beholder import weights
from beholder.cli import main
from beholder.codecs.rnn import bitstream
from beholder.codecs.rnn.layout import BLOCK
from beholder.serve.static_site import DECODER
from beholder.serve.web_model import web_model

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*-alpha0-*.bhd"))
LARGEST_MODEL = 6_000_000

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node.js is not installed"),
    pytest.mark.xdist_group("node"),  # one process, for its decoder
]


def test_golden_files(decoder: NodeDecoder) -> None:
    assert len(GOLDEN) >= 10
    for file, result in zip(GOLDEN, decoder.decode(*GOLDEN), strict=True):
        decoder.check(file.read_bytes(), result)


def test_shifts_escapes_tiles_and_prefixes(decoder: NodeDecoder, tmp_path: Path) -> None:
    # 3 x 66 blocks: enough for shifts of the tables, and more than one tile wide.  Noise needs escapes.
    photo = make_photo(66 * BLOCK, 3 * BLOCK)
    noise = np.random.default_rng(5).integers(0, 2, (32, 64, 3)) * 255
    photo.paste(Image.fromarray(noise.astype(np.uint8)), (300, 10))
    files = []
    whole = beholder.compress(photo, quality=3)
    lengths = [len(segment) for segment in bitstream.read(whole).segments]
    for name, data in (("whole", whole), ("prefix", whole[: len(whole) - lengths[2] - 6]), ("cut", whole[:-9])):
        files.append(tmp_path / f"{name}.bhd")
        files[-1].write_bytes(data)
    results = decoder.decode(*files)
    assert [result["segments"] for result in results] == [3, 2, 2]
    decoder.check(whole, results[0])
    assert np.array_equal(results[1]["pixels"], results[2]["pixels"])


def test_bad_files_get_a_sentence(decoder: NodeDecoder, tmp_path: Path) -> None:
    whole = beholder.compress(make_photo(40, 40), quality=2)
    stream = bitstream.read(whole)
    stream.model = b"12345678"
    large = bitstream.read(whole)
    large.width = large.height = 13_000
    broken = bytearray(whole)
    broken[-2] ^= 8
    version = bytearray(whole)
    version[4] = 9
    cases = {
        "alpha": (beholder.compress(make_photo(40, 40), quality=1, alpha=1), "made for a machine (alpha 1)"),
        "model": (bitstream.write(stream), "codec model 3132333435363738"),
        "checksum": (bytes(broken), "checksum of segment 2"),
        "version": (bytes(version), "version 9"),
        "large": (bitstream.write(large), "too short for a picture of its size"),
        "foreign": (b"\x89PNG\r\n\x1a\n" + bytes(50), "no .bhd file"),
        "header": (whole[:10], "ends inside its header"),
        "no segment": (whole[:25], "before its first segment"),
        "longer": (whole + b"\0", "Bytes follow"),
        "empty": (b"", "ends inside its header"),
    }
    files = []
    for name, (data, _) in cases.items():
        files.append(tmp_path / f"{name}.bhd")
        files[-1].write_bytes(data)
    for result, (_, words) in zip(decoder.decode(*files), cases.values(), strict=True):
        assert result["name"] == "BhdError"
        assert words in result["error"]


def test_damage_never_ends_the_decoder(decoder: NodeDecoder, tmp_path: Path) -> None:
    stream = bitstream.read(beholder.compress(make_photo(48, 48), quality=2))
    rng = np.random.default_rng(2)
    files = []
    for number in range(12):
        # Right checksums over wrong codes: the range decoder sees them all.
        stream.segments = [rng.integers(0, 256, rng.integers(1, 200), dtype=np.uint8).tobytes() for _ in range(2)]
        files.append(tmp_path / f"{number}.bhd")
        files[-1].write_bytes(bitstream.write(stream))
    for result in decoder.decode(*files):
        assert result.get("name", "BhdError") == "BhdError"


def test_model_file_is_small() -> None:
    assert len(web_model(weights.CODEC)) <= LARGEST_MODEL


def test_export_refuses_to_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("mine")
    assert main(["export-web", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
    assert main(["export-web", str(tmp_path), "--force"]) == 0
    assert main(["export-web", str(tmp_path / "other"), "--model", str(tmp_path)]) == 2


def test_the_module_is_built_from_its_sources(tmp_path: Path) -> None:
    compiler = ROOT / "web" / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        pytest.skip("the TypeScript compiler is not installed: npm ci in web/")
    subprocess.run([compiler, "-p", ROOT / "web", "--outDir", tmp_path], check=True, timeout=300)
    for path in tmp_path.iterdir():
        assert path.read_text() == (DECODER / path.name).read_text(), path.name
    for path in (ROOT / "web" / "static").iterdir():
        assert path.read_text() == (DECODER / path.name).read_text(), path.name
    scripts = json.loads((ROOT / "web" / "package.json").read_text())["scripts"]
    for name in ("kernels", "kernels-relaxed"):
        program, *options = scripts[name].split()
        options[options.index("-o") + 1] = str(tmp_path / f"{name}.wasm")
        subprocess.run([compiler.with_name(program), *options], cwd=ROOT / "web", check=True, timeout=300)
        assert (tmp_path / f"{name}.wasm").read_bytes() == (DECODER / f"{name}.wasm").read_bytes(), name
