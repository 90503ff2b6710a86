"""`scripts/training_photos.py`: the game's photographs come out of Qt's resource files, and only the free ones."""

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from qt_resources import resources  # noqa: E402
from training_photos import of_resources, read_licences  # noqa: E402

README = """Copyright: One
License: CC-BY-SA-4.0
Comments: cropping
Files: free.webp

Copyright: Two
License: CC-BY-NC 2.0
Files:
bought.webp

Copyright: Three
License: Public Domain
narrow.webp
Van_Gogh_bridge.webp
opacity.webp
"""


def webp(width: int, height: int, mode: str = "RGB") -> bytes:
    out = BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, len(mode)), np.uint8)
    Image.fromarray(pixels, mode).save(out, "WEBP", quality=10)
    return out.getvalue()


def qrc(files: dict[str, bytes], packed: tuple[str, ...] = ()) -> bytes:
    """A resource file, version 3, of one folder "pictures"; `packed` files are compressed."""
    names, data, nodes = b"", b"", []
    offsets = {}
    for name in ("pictures", *files):
        offsets[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    nodes.append(struct.pack(">IHII", 0, 2, 1, 1) + bytes(8))
    nodes.append(struct.pack(">IHII", offsets["pictures"], 2, len(files), 2) + bytes(8))
    for name, content in files.items():
        nodes.append(struct.pack(">IHHHI", offsets[name], int(name in packed), 0, 0, len(data)) + bytes(8))
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if name in packed else content
        data += struct.pack(">I", len(stored)) + stored
    tree = 24
    content_start = tree + 22 * len(nodes)
    head = b"qres" + struct.pack(">5I", 3, tree, content_start, content_start + len(data), 0)
    return head + b"".join(nodes) + data + names


FILES = {"free.webp": b"pixels", "README": b"text" * 9}


def test_files_come_out_as_they_went_in() -> None:
    assert dict(resources(qrc(FILES, packed=("README",)))) == {
        "/pictures/free.webp": b"pixels",
        "/pictures/README": b"text" * 9,
    }


@pytest.mark.parametrize("end", [0, 3, 10, 30, 60, 90, 130])
def test_damaged_files_are_told(end: int) -> None:
    with pytest.raises(ValueError, match="Qt resource file"):
        dict(resources(qrc(FILES)[:end]))


def test_a_folder_within_itself_is_told() -> None:
    data = bytearray(qrc(FILES))
    data[24 + 22 + 10 : 24 + 22 + 14] = struct.pack(">I", 1)  # the first child of "pictures" becomes itself
    with pytest.raises(ValueError, match="damaged"):
        dict(resources(bytes(data)))


def test_licences() -> None:
    licences = read_licences("/pictures", README)
    assert licences["/pictures/free.webp"] == "CC-BY-SA-4.0"
    assert licences["/pictures/bought.webp"] == "CC-BY-NC 2.0"
    assert licences["/pictures/narrow.webp"] == "Public Domain"


def test_free_photographs_alone_are_taken() -> None:
    files = {
        "README": README.encode(),
        "free.webp": webp(1440, 720),
        "bought.webp": webp(600, 400),
        "narrow.webp": webp(300, 400),
        "Van_Gogh_bridge.webp": webp(600, 400),
        "opacity.webp": webp(600, 400, "RGBA"),
        "no_licence.webp": webp(600, 400),
    }
    (photograph,) = of_resources("erase", qrc(files, packed=("README",)))
    assert photograph.name == "gcompris-qt-data_erase_free"
    assert photograph.image.size == (480, 240)
    assert photograph.licence == "CC-BY-SA-4.0"
