"""Collect free photographs to train the codec on: 50 from wallpaper packages of Debian, 127 from a game.

    python scripts/training_photos.py --output photos [--packages NAME ...] [--add FOLDER ...] [--validation FOLDER]

Fetches Debian packages with ``apt-get download``, unpacks their photographs, shrinks them (which hides the artefacts of
the JPEG or WebP that they were stored as) and writes lossless WebP.  Every 19th photograph of the added folders goes
to --validation.  Needs a Debian-like system; nothing is installed.

Licences: those of the wallpapers stand in usr/share/doc/PACKAGE/copyright of each package.  The game, GCompris, names
the licence of each picture in a README beside it; a picture is taken only if it is in the public domain or under a
Creative Commons licence that allows changes and any use.  ``OUTPUT.licences.tsv`` says where each photograph is from.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image
from qt_resources import resources

PLASMA = (
    "Path",
    "OneStandsOut",
    "Autumn",
    "ColorfulCups",
    "EveningGlow",
    "FallenLeaf",
    "BytheWater",
    "Kite",
    "ColdRipple",
)
LXQT = (
    "Valendas.png",
    "butterfly.png",
    "flowers.png",
    "appleflower.png",
    "cloud.png",
    "fog.jpg",
    "after-the-rain.jpg",
    "this-is-not-windows.jpg",
)
WALLPAPERS = {
    # package: glob patterns of its photographs
    "lomiri-wallpapers-16.04": ["usr/share/backgrounds/*.jpg"],
    "mate-backgrounds": [
        "usr/share/backgrounds/mate/nature/*.jpg",
        "usr/share/backgrounds/mate/abstract/Elephants_5640x3172.jpg",
    ],
    "lxqt-themes": [f"usr/share/lxqt/wallpapers/{name}" for name in LXQT],
    "palapeli-data": ["usr/share/palapeli/collection/*.jpg"],
    "plasma-workspace-wallpapers": [f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg" for name in PLASMA],
}
GAME = "gcompris-qt-data"
ACTIVITIES = (
    "explore_monuments",
    "explore_world_animals",
    "explore_farm_animals",
    "explore_world_music",
    "erase",
    "clickgame",
    "details",
)
PACKAGES = (*WALLPAPERS, GAME)
LEFT_OUT = re.compile("Gogh|Eglise_dAuvers|/koala")
"""Paintings, and the photograph that the README shows: nothing is trained on it."""
FREE = re.compile(r"public domain|CC0([- ]1\.0)?|CC[- ]BY([- ]SA)?[- ][\d.]+", re.IGNORECASE)
LONGEST = 2048
LEAST_WIDTH = 500
"""Narrower pictures of the game are details cut from others."""
LARGE_WIDTH = 1440
"""From this width on the game's pictures are compressed so strongly that they are shrunk by 3 instead of 2."""
LEAST_SIDE = 160
HELD_OUT = 19


@dataclass(frozen=True)
class Photograph:
    """One photograph of a package: the name it gets, RGB pixels as stored, and its licence."""

    name: str
    image: Image.Image
    licence: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder of photographs to train on")
    parser.add_argument("--packages", nargs="*", choices=PACKAGES, default=PACKAGES, help="packages to fetch; all")
    parser.add_argument("--add", type=Path, action="append", default=[], help="further folders of photographs")
    parser.add_argument("--validation", type=Path, help="where every 19th added photograph goes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    licences = []
    for package in options.packages:
        with tempfile.TemporaryDirectory() as folder:
            root = unpack(package, Path(folder))
            found = of_game(root) if package == GAME else of_wallpapers(package, root)
            for photograph in found:
                output = options.output / f"{photograph.name}.webp"
                photograph.image.save(output, lossless=True, method=1)
                print(f"{output.name}: {photograph.image.width}x{photograph.image.height}", flush=True)
                licences.append(f"{output.name}\t{package}\t{photograph.licence}\n")
    options.output.with_name(f"{options.output.name}.licences.tsv").write_text("".join(licences), encoding="utf-8")
    for added in options.add:
        for number, path in enumerate(sorted(added.iterdir())):
            held_out = options.validation is not None and number % HELD_OUT == 0
            folder_out = options.validation if held_out else options.output
            folder_out.mkdir(parents=True, exist_ok=True)
            (folder_out / path.name).write_bytes(path.read_bytes())
    print(f"{len(list(options.output.iterdir()))} photographs in {options.output}")


def unpack(package: str, folder: Path) -> Path:
    """Fetch a Debian package and return the folder that holds its files."""
    try:
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "root")], check=True)
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        sys.exit(f"The Debian package {package} cannot be fetched ({error}): this needs a Debian-like system.")
    return folder / "root"


def of_wallpapers(package: str, root: Path) -> Iterator[Photograph]:
    """The photographs among a package's wallpapers, at least halved where that leaves LONGEST / 2, at most LONGEST."""
    for path in sorted(p for pattern in WALLPAPERS[package] for p in root.glob(pattern)):
        with Image.open(path) as image:
            rgb = image.convert("RGB")
        scale = min(LONGEST / max(rgb.size), 0.5 if max(rgb.size) >= LONGEST else 0.75)
        stem = path.parts[-4] if path.stem[0].isdigit() else path.stem
        yield Photograph(f"{package}_{stem}", shrink(rgb, scale), f"usr/share/doc/{package}/copyright")


def of_game(root: Path) -> Iterator[Photograph]:
    """The free photographs of GCompris."""
    for activity in ACTIVITIES:
        path = root / "usr" / "share" / "gcompris-qt" / "rcc" / f"{activity}.rcc"
        yield from of_resources(activity, path.read_bytes())


def of_resources(activity: str, data: bytes) -> Iterator[Photograph]:
    """The free photographs of one of GCompris' resource files: RGB WebP at least LEAST_WIDTH wide, shrunk."""
    files = dict(resources(data))
    licences: dict[str, str] = {}
    for path, content in files.items():
        if path.endswith("/README"):
            licences |= read_licences(str(PurePosixPath(path).parent), content.decode("utf-8"))
    for path, content in files.items():
        licence = licences.get(path, "")
        if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or LEFT_OUT.search(path) or not FREE.fullmatch(licence):
            continue
        with Image.open(BytesIO(content)) as image:
            if image.mode != "RGB" or image.width < LEAST_WIDTH:
                continue
            rgb = shrink(image, 1 / 3 if image.width >= LARGE_WIDTH else 1 / 2)
        if min(rgb.size) >= LEAST_SIDE:
            yield Photograph(f"{GAME}_{activity}_{PurePosixPath(path).stem}", rgb, licence)


def read_licences(folder: str, readme: str) -> dict[str, str]:
    """Licence of each file that one of GCompris' READMEs names, by the file's path.

    Paragraphs hold ``License: NAME`` and then file names, a line each; some leave out the line ``Files:``.
    """
    result = {}
    for paragraph in re.split(r"\n\s*\n", readme):
        licence = re.search(r"^License: *(.*?) *$", paragraph, re.MULTILINE)
        if licence is not None:
            for name in re.findall(r"^(?:Files: *)?(\S+\.webp) *$", paragraph, re.MULTILINE):
                result[f"{folder}/{name}"] = licence[1]
    return result


def shrink(image: Image.Image, scale: float) -> Image.Image:
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
