"""Decoders written from docs/bhd-format.md alone read what the codec writes."""

from pathlib import Path

import numpy as np
import pytest
from helpers.decoders import second_decoder
from helpers.decoders.second_decoder import RangeDecoder, cumulative_of, equiprobable
from PIL import Image

from beholder import samples, weights
from beholder.codecs.rnn import Rnn, bitstream
from beholder.codecs.rnn.entropy.tables import SHIFT_PROBABILITIES, laplace_tables, table_sizes
from beholder.codecs.rnn.residual import tables
from beholder.reading import load

constriction = pytest.importorskip("constriction")
GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_documented_range_coder_reads_what_is_written() -> None:
    rng = np.random.default_rng(0)
    tables, reach = laplace_tables()
    parts = np.split(tables.astype(np.int64), np.cumsum(table_sizes(reach))[:-1])
    encoder = constriction.stream.queue.RangeEncoder()
    written = []
    model = constriction.stream.model
    for number in rng.choice(len(parts), 60):
        frequencies = parts[number].tolist()
        count = int(rng.integers(1, 30))
        symbols = rng.choice(len(frequencies), count, p=parts[number] / 65536).astype(np.int32)
        encoder.encode(symbols, model.Categorical(parts[number] / 65536, perfect=False))
        written.append((cumulative_of(frequencies, 1 << 16), symbols))
        raw = rng.integers(0, 1 << 16, 2).astype(np.int32)
        encoder.encode(raw, model.Uniform(1 << 16))
        written.append((equiprobable(16), raw))
        shifts = rng.integers(0, 7, 3).astype(np.int32)
        encoder.encode(shifts, model.Categorical(np.array(SHIFT_PROBABILITIES), perfect=False))
        written.append((cumulative_of([round(64 * p) for p in SHIFT_PROBABILITIES], 64), shifts))
    decoder = RangeDecoder(encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))
    for cumulative, symbols in written:
        assert [decoder.symbol(cumulative) for _ in symbols] == symbols.tolist()


@pytest.mark.parametrize("name", ["grey-q4-alpha1-effort0", "odd-sides-q0.3-alpha0-effort0"])
def test_a_decoder_written_from_the_document_reads_golden_files(name: str) -> None:
    check_second_decoder((GOLDEN / f"{name}.bhd").read_bytes())


def test_a_decoder_written_from_the_document_reads_a_prefix() -> None:
    stream = bitstream.read((GOLDEN / "cat-q4-alpha0-effort1.bhd").read_bytes())
    stream.segments = stream.segments[:2]
    check_second_decoder(bitstream.write(stream))


def test_a_decoder_written_from_the_document_reads_shifts_and_blends() -> None:
    photo = load(samples.path("coffee")).resize((560, 48))  # 105 blocks, of which two begin the pyramid
    check_second_decoder(Rnn().encode(photo, 2, alpha=0.3))


@pytest.mark.parametrize(
    ("mode", "size", "quality", "alpha"),
    [("RGB", (37, 21), 12, 0.0), ("L", (24, 33), 10.4, 1.0), ("RGB", (20, 20), 8.6, 0.3), ("RGB", (1, 1), 11, 0.0)],
)
def test_a_decoder_written_from_the_document_reads_residuals(
    mode: str, size: tuple[int, int], quality: float, alpha: float
) -> None:
    photo = load(samples.path("coffee")).resize((300, 200)).crop((100, 60, 100 + size[0], 60 + size[1]))
    check_second_decoder(Rnn().encode_between(photo.convert(mode), quality, alpha=alpha))


def test_a_decoder_written_from_the_document_reads_residuals_in_tiles() -> None:
    photo = load(samples.path("coffee")).resize((1040, 17)).convert("L")
    check_second_decoder(Rnn().encode(photo, 9))


def test_a_decoder_written_from_the_document_reads_escapes() -> None:
    """Noise with the finest steps: residuals far above those of photographs."""
    noise = np.random.default_rng(0).integers(0, 2, (16, 24, 3)).astype(np.uint8) * 255
    stream = bitstream.read(Rnn()._write(Image.fromarray(noise), 9, 0.0, -128))
    assert len(stream.segments[8]) > 16 * 24 * 3 / 4
    check_second_decoder(bitstream.write(stream))


def check_second_decoder(data: bytes) -> None:
    ours = np.asarray(Rnn().decode(data)).astype(int)
    difference = np.abs(second_decoder.decode(data, weights.CODEC, tables.FILE) - ours)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.98
