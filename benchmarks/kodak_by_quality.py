"""Rate of one codec beside another's at equal MS-SSIM, quality by quality, from the rows of ``kodak.py``.

    python benchmarks/kodak_by_quality.py docs/results/kodak/kodak.csv "rnn effort 2" "rnn effort 1"

Of each photograph, the rate of the first codec's file is compared with the second codec's curve at that file's MS-SSIM.
Files whose MS-SSIM lies outside of that curve are counted, not compared.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from beholder.metrics import ms_ssim_db
from beholder.metrics.pchip import Pchip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, help="kodak.csv")
    parser.add_argument("codec")
    parser.add_argument("beside")
    options = parser.parse_args()
    files: defaultdict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
    with options.table.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            point = (ms_ssim_db(float(row["ms_ssim"])), math.log(float(row["bpp"])), int(row["quality"]))
            files[row["codec"], row["image"]].append(point)
    differences: defaultdict[int, list[float]] = defaultdict(list)
    for (codec, image), points in files.items():
        if codec != options.codec:
            continue
        curve = sorted(files[options.beside, image])
        rate = Pchip(*(np.array(axis) for axis in list(zip(*curve, strict=True))[:2]))
        for similarity, bits, quality in points:
            within = curve[0][0] <= similarity <= curve[-1][0]
            differences[quality].append(bits - float(rate(similarity)) if within else math.nan)
    print("quality  rate    files  smaller  outside")
    for quality, found in sorted(differences.items()):
        inside = [x for x in found if not math.isnan(x)]
        rate_change = f"{100 * math.expm1(np.mean(inside)):+.1f} %" if inside else "-"
        smaller, outside = sum(x < 0 for x in inside), len(found) - len(inside)
        print(f"{quality:7}  {rate_change:7} {len(found):5}  {smaller:7}  {outside:7}")


if __name__ == "__main__":
    main()
