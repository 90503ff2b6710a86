"""Collect the free photographs that the shipped weights were trained on (beside the folders given with --add).

    python scripts/training_photos.py --output photos [--add FOLDER ...] [--validation FOLDER]

Fetches Debian packages with ``apt-get download``, unpacks the photographs among their wallpapers, shrinks them
to at most 2048 pixels (which hides the artefacts of the JPEG they were stored as) and writes lossless WebP.  Every 19th
photograph of the added folders goes to --validation.  Needs a Debian-like system; nothing is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PACKAGES = {
    # package: glob patterns of photographs (licences: /usr/share/doc/PACKAGE/copyright inside each package)
    "lomiri-wallpapers-16.04": ["usr/share/backgrounds/*.jpg"],
    "mate-backgrounds": [
        "usr/share/backgrounds/mate/nature/*.jpg",
        "usr/share/backgrounds/mate/abstract/Elephants_5640x3172.jpg",
    ],
    "lxqt-themes": [
        f"usr/share/lxqt/wallpapers/{name}"
        for name in (
            "Valendas.png",
            "butterfly.png",
            "flowers.png",
            "appleflower.png",
            "cloud.png",
            "fog.jpg",
            "after-the-rain.jpg",
            "this-is-not-windows.jpg",
        )
    ],
    "palapeli-data": ["usr/share/palapeli/collection/*.jpg"],
    "plasma-workspace-wallpapers": [
        f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg"
        for name in (
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
    ],
}
LONGEST = 2048
HELD_OUT = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--add", type=Path, action="append", default=[], help="further folders of photographs")
    parser.add_argument("--validation", type=Path, help="where every 19th added photograph goes")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for package, patterns in PACKAGES.items():
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
            archive = next(Path(folder).glob(f"{package}_*.deb"))
            root = Path(folder) / package
            subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)
            for path in sorted(p for pattern in patterns for p in root.glob(pattern)):
                shrink(
                    path,
                    options.output / f"{package}_{path.parts[-4] if path.stem[0].isdigit() else path.stem}.webp",
                )
            archive.unlink()
    for added in options.add:
        for number, path in enumerate(sorted(added.iterdir())):
            held_out = options.validation is not None and number % HELD_OUT == 0
            folder_out = options.validation if held_out else options.output
            folder_out.mkdir(parents=True, exist_ok=True)
            (folder_out / path.name).write_bytes(path.read_bytes())
    print(f"{len(list(options.output.iterdir()))} photographs in {options.output}")


def shrink(source: Path, target: Path) -> None:
    """Copy as RGB, at least halved where it stays above LONGEST / 2, at most LONGEST on the long side."""
    with Image.open(source) as image:
        rgb = image.convert("RGB")
    scale = min(LONGEST / max(rgb.size), 0.5 if max(rgb.size) >= LONGEST else 0.75)
    size = (round(rgb.width * scale), round(rgb.height * scale))
    rgb.resize(size, Image.Resampling.LANCZOS).save(target, lossless=True, method=1)
    print(f"{target.name}: {size[0]}x{size[1]}")


if __name__ == "__main__":
    main()
