"""Readers of strangers' files against damaged ones: each must give a result or one sentence, in little time.

    python scripts/fuzz.py [--minutes 60] [--corpus fuzz-corpus] [--targets bhd bpg sidecar shard] [--seed 0]

Mutants of small files have right checksums, so that damage gets past them.  What gives an answer that no input gave
before is kept in CORPUS/TARGET and is altered further, in this run and in later ones.  An exception other than
BeholderError, or an input that takes longer than ten seconds, is written to CORPUS/found with its traceback, and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import re
import tarfile
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beholder import data as datasets
from beholder.codecs.bpg import Bpg, container
from beholder.codecs.rnn import Rnn, bitstream
from beholder.errors import BeholderError
from beholder.limits import limit_pixels
from beholder.observers import sidecar

SLOW = 10.0
"""Seconds that one input may take."""
MOST_PIXELS = 1_000_000
"""Larger pictures are refused here: they are no crashes, but take long."""
EDGES = (0, 1, 2, 15, 16, 17, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        seeds: makes files to begin with.
        mutate: alters one; what it gives may be no file at all.
        read: reads one, and tells what came of it.
    """

    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, random.Random], bytes]
    read: Callable[[bytes], str]


def alter(data: bytes, chance: random.Random) -> bytes:
    """Flip, replace, insert, remove, repeat or cut off bytes, once or several times."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at, count = chance.randrange(len(out) + 1), chance.choice((1, 1, 2, 4, 8, 64))
        match chance.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at : at + count] = chance.randbytes(count)
            case 2:
                out[at:at] = chance.randbytes(count)
            case 3:
                del out[at : at + count]
            case 4:
                out[at:at] = out[at : at + count]
            case _ if chance.random() < 0.3:
                del out[at:]
            case _:
                size = chance.choice((1, 2, 4))
                edge = chance.choice(EDGES) % 256**size
                out[at : at + size] = edge.to_bytes(size, chance.choice(("little", "big")))
    return bytes(out)


def alter_bhd(data: bytes, chance: random.Random) -> bytes:
    """Alter fields, chunks or segments of a `.bhd` file and give it right checksums; now and then alter bytes."""
    try:
        stream = bitstream.read(data)
    except BeholderError:
        return alter(data, chance)
    match chance.randrange(6):
        case 0:
            return alter(data, chance)
        case 1:
            field = chance.choice(("width", "height"))
            changed: dict[str, Any] = {field: chance.choice((*EDGES, chance.randrange(1, 400)))}
            stream = replace(stream, **changed)
        case 2:
            field = chance.choice(("grey", "optimised", "alpha", "quality"))
            changed = {"grey": chance.random() < 0.5, "optimised": chance.random() < 0.5, "alpha": chance.random()}
            changed["quality"] = chance.randrange(1, 13)
            stream = replace(stream, **{field: changed[field]})
        case 3:
            chunks = dict(stream.chunks)
            tag = chance.choice((1, 2, 3, 4, 255))
            chunks[tag] = alter(chunks.get(tag, b"\0" * 8), chance)
            stream = replace(stream, chunks=chunks)
        case _:
            segments = list(stream.segments)
            if segments:
                number = chance.randrange(len(segments))
                segments[number] = alter(segments[number], chance)
            stream = replace(stream, segments=segments)
    return bitstream.write(stream)


def alter_bpg(data: bytes, chance: random.Random) -> bytes:
    """Alter the header's fields, or bytes."""
    try:
        header, picture = container.read_file(data)
    except BeholderError:
        return alter(data, chance)
    match chance.randrange(4):
        case 0:
            field = chance.choice(("width", "height"))
            changed: dict[str, Any] = {field: chance.choice((*EDGES[1:], chance.randrange(1, 400)))}
            header = replace(header, **changed)
        case 1:
            header = replace(header, chroma=chance.randrange(4), bit_depth=chance.choice((8, 9, 10, 12, 14)))
        case 2:
            picture = alter(picture, chance)
        case _:
            return alter(data, chance)
    return container.write_file(header, picture)


def alter_json(data: bytes, chance: random.Random) -> bytes:
    """Replace values of a JSON object, or alter bytes."""
    try:
        content = json.loads(data)
    except ValueError:
        return alter(data, chance)
    if not isinstance(content, dict) or not content or chance.random() < 0.2:
        return alter(data, chance)
    key = chance.choice(list(content))
    values: list[object] = [None, True, -1, 0, 1e400, 2**70, "", "x" * 300, [], [None], {}, [1, 2], [-1e30] * 3, "\0"]
    if chance.random() < 0.2:
        content[alter(key.encode(errors="replace"), chance).decode(errors="replace")] = content.pop(key)
    else:
        content[key] = chance.choice(values)
    return json.dumps(content).encode()


def photo(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A smooth picture with some noise."""
    noise = np.random.default_rng(0).integers(0, 40, (size[1], size[0], 4), np.uint8)
    noise += np.linspace(0, 200, size[0], dtype=np.uint8)[None, :, None]
    return Image.fromarray(noise, "RGBA").convert(mode)


def bhd_seeds() -> list[bytes]:
    codec = Rnn()
    pictures = [photo((33, 20)), photo((170, 165)), photo((40, 40), "LA"), photo((1, 1), "L")]
    return [codec.encode(picture, 3, alpha=alpha) for picture, alpha in zip(pictures, (0, 1, 0.3, 0), strict=True)]


def bpg_seeds() -> list[bytes]:
    pictures = [photo((40, 30)), photo((70, 64), "RGBA"), photo((16, 16), "L")]
    return [Bpg(chroma=chroma).encode(p, 40) for p, chroma in zip(pictures, ("444", "420", "444"), strict=True)]


def sidecar_seeds() -> list[bytes]:
    content = {"input_size": 224, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "layout": "NCHW", "resize": 256}
    return [json.dumps(content).encode(), b"{}"]


def shard_seeds() -> list[bytes]:
    out = io.BytesIO()
    picture = io.BytesIO()
    photo((20, 20)).save(picture, "JPEG")
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("a.jpg", picture.getvalue()), ("a.cls", b"1"), ("b.jpg", picture.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return [out.getvalue()]


def read_bhd(data: bytes) -> str:
    image = Rnn().decode(data)
    return f"{image.mode} {min(image.size) > 16}"


def read_bpg(data: bytes) -> str:
    return Bpg().decode(data).mode


def read_sidecar(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observer.json"
        path.write_bytes(data)
        sidecar.read(path, "observer")
    return "read"


def read_shard(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "val-000000.tar").write_bytes(data)
        source = datasets.open_source(folder)
        for example in source:
            datasets.decode(example)
    return "read"


TARGETS = {
    "bhd": Target(bhd_seeds, alter_bhd, read_bhd),
    "bpg": Target(bpg_seeds, alter_bpg, read_bpg),
    "sidecar": Target(sidecar_seeds, alter_json, read_sidecar),
    "shard": Target(shard_seeds, alter, read_shard),
}


DIFFERS = re.compile(r"[\d,.]+|\(.*?\)|'.*?'|\".*?\"|/\S+", re.DOTALL)


def answer(target: Target, data: bytes) -> str:
    """Outcome of reading some bytes: a result, or an error without what differs from file to file."""
    try:
        with warnings.catch_warnings(), limit_pixels(MOST_PIXELS):
            warnings.simplefilter("ignore")
            return target.read(data)
    except BeholderError as error:
        fault = str(error).partition("choose one of")[0]
        return f"{type(error).__name__}: " + DIFFERS.sub("#", fault)


def fuzz(name: str, corpus: Path, chance: random.Random, until: float, most: int) -> tuple[int, int, int]:
    """Alter and read until a time or a number of inputs: how many were read, kept, and found guilty."""
    target, folder = TARGETS[name], corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    pool = target.seeds() + [path.read_bytes() for path in sorted(folder.iterdir())]
    known = {answer(target, data) for data in pool}
    count = kept = guilty = 0
    while count < most and time.monotonic() < until:
        data = target.mutate(chance.choice(pool), chance)
        count += 1
        start = time.monotonic()
        try:
            came, trace = answer(target, data), ""
        except Exception:
            came, trace = "crash", traceback.format_exc()
        seconds = time.monotonic() - start
        if seconds > SLOW:
            trace = f"{seconds:.1f} seconds\n{trace}"
        if trace:
            guilty += 1
            place = corpus / "found" / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            place.with_suffix(".txt").write_text(trace)
            print(f"{place}: {trace.strip().splitlines()[-1]}", flush=True)
        elif came not in known:
            known.add(came)
            kept += 1
            pool.append(data)
            (folder / f"{zlib.crc32(came.encode(errors='backslashreplace')):08x}").write_bytes(data)
    return count, kept, guilty


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="in all, shared evenly among the targets")
    parser.add_argument("--inputs", type=int, default=1 << 60, help="at most so many for each target")
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"))
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    guilty = 0
    for name in options.targets:
        until = time.monotonic() + 60 * options.minutes / len(options.targets)
        count, kept, found = fuzz(name, options.corpus, random.Random(options.seed), until, options.inputs)
        print(f"{name}: {count:,} inputs, {kept} new answers, {found} found guilty", flush=True)
        guilty += found
    return 1 if guilty else 0


if __name__ == "__main__":
    raise SystemExit(main())
