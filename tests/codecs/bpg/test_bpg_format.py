"""The parts of BPG: container (specification 0.9.5), HEVC parameter sets, colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder.codecs.bpg import colour, container, hevc
from beholder.codecs.bpg.container import Alpha, ColourSpace


@pytest.mark.parametrize(("coded", "value"), [("08", 8), ("841e", 542), ("acbe17", 728855)])
def test_ue7(coded: str, value: int) -> None:
    """Examples of section 2 of the specification."""
    assert container.to_ue7(value) == bytes.fromhex(coded)
    assert container.read_ue7(bytes.fromhex(coded), 0) == (value, len(coded) // 2)


@given(
    header=st.builds(
        container.Header,
        width=st.integers(1, 10_000),
        height=st.integers(1, 10_000),
        chroma=st.integers(1, 2),
        bit_depth=st.integers(8, 14),
        cosited=st.booleans(),
        colour_space=st.sampled_from(ColourSpace),
        limited_range=st.booleans(),
        alpha=st.sampled_from(Alpha),
        animation=st.booleans(),
        extensions=st.dictionaries(st.integers(1, 1 << 32 - 1), st.binary(max_size=200), max_size=4),
    ),
    picture_data=st.binary(min_size=1, max_size=200),
)
def test_headers_survive(header: container.Header, picture_data: bytes) -> None:
    assert container.read_file(container.write_file(header, picture_data) + b"more") == (header, picture_data)


# HEVC


def test_parameter_set_of_bpgdec() -> None:
    """A sequence parameter set that is known to decode files of bpgenc: 472x304, 4:2:0, 8 bits."""
    nal = bytes.fromhex("42010104080000030090100000030000ffa00ec804c597e4936b20")
    tools, width, height = hevc.read_sps(nal, chroma=1, bit_depth=8)
    assert (width, height, tools.log2_min_cb, tools.sao) == (472, 304, 3, True)
    assert hevc.build_sps(tools, 472, 304, chroma=1, bit_depth=8) == nal
    assert hevc.read_hevc_header(hevc.write_hevc_header(tools)) == tools


@given(
    tools=st.builds(
        hevc.CodingTools,
        log2_min_cb=st.just(4),
        log2_cb_range=st.integers(0, 2),
        log2_min_tb=st.integers(2, 3),
        log2_tb_range=st.integers(0, 1),
        depth_intra=st.integers(0, 1),
        sao=st.booleans(),
        pcm=st.none()
        | st.builds(
            hevc.Pcm,
            luma_bits=st.integers(1, 16),
            chroma_bits=st.integers(1, 16),
            log2_min_size=st.integers(3, 5),
            log2_size_range=st.integers(0, 2),
            loop_filter_disabled=st.booleans(),
        ),
        strong_intra_smoothing=st.booleans(),
        range_flags=st.none() | st.sampled_from([0, 0b1_1100_0010]),
    ),
    width=st.integers(1, 99_999),
    chroma=st.integers(0, 3),
    depth=st.integers(8, 14),
)
def test_parameter_sets_survive(tools: hevc.CodingTools, width: int, chroma: int, depth: int) -> None:
    assert hevc.read_hevc_header(hevc.write_hevc_header(tools) + b"\xff") == tools
    assert hevc.read_sps(hevc.build_sps(tools, width, 64, chroma, depth), chroma, depth) == (tools, width, 64)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 255]), max_size=40).map(bytes))
def test_emulation_prevention(raw: bytes) -> None:
    escaped = hevc.escape(raw)
    assert hevc.unescape(escaped) == raw
    assert not any(bytes([0, 0, value]) in escaped for value in range(3))


# Colour


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_colours_are_those_of_jpeg(depth: int) -> None:
    """Full-range BT.601 as in JFIF 1.02; Pillow implements the same."""
    pixels = np.random.default_rng(3).integers(0, 256, (70, 130, 3), np.uint8)
    planes = np.stack(colour.to_planes(pixels, 3, depth), axis=-1)
    difference = planes * (255 / ((1 << depth) - 1)) - np.asarray(Image.fromarray(pixels).convert("YCbCr"), float)
    assert np.abs(difference).max() <= 1.5
    red = np.full((1, 1, 3), (255, 0, 0), np.uint8)
    assert [int(plane[0, 0]) for plane in colour.to_planes(red, 3, 8)] == [76, 85, 255]


@pytest.mark.parametrize("chroma", [1, 2])
def test_a_flat_colour_stays_flat(chroma: int) -> None:
    pixels = np.full((7, 9, 3), (200, 30, 90), np.uint8)
    full, halved = colour.to_planes(pixels, 3, 8), colour.to_planes(pixels, chroma, 8)
    assert halved[1].shape == (7 if chroma == 2 else 4, 5)
    assert all((plane == reference[0, 0]).all() for plane, reference in zip(halved, full, strict=True))
    header = container.Header(9, 7, chroma)
    back = np.concatenate([strip for _, strip in colour.to_pixels(halved, None, header)])
    assert np.abs(back - pixels.astype(int)).max() <= 2
