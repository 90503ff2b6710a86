"""Sort photographs named ``{class index}_{wnid}_{name}.jpg`` into groups of WordNet relatives: a small data set.

    python scripts/wordnet_groups.py PHOTOS --output groups [--fold 0 --folds 3] [--ask OBSERVER]

writes ``groups/train/GROUP/...`` and ``groups/val/GROUP/...``, class folders for ``beholder train classifier``.  Class
indices are ImageNet's (ILSVRC-2012, sorted wnids).  Animals are numbered by kinship, so that ranges serve; artefacts
are numbered in the order of the alphabet, so that single classes are listed, and most belong to no group.  In each
group, every ``folds``-th photograph goes to ``val``, beginning with number ``fold``: the folds of a cross-validation.
``--ask`` tells how often the group of an ImageNet classifier's best guess is right on ``val``, without any training.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from beholder import observers
from beholder.reading import load

GROUPS: dict[str, tuple[int | range, ...]] = {
    "bird": (range(7, 25), range(80, 101), range(127, 147)),
    "reptile or amphibian": (range(25, 69),),
    "invertebrate": (range(69, 80), range(107, 127), range(300, 330)),
    "dog": (range(151, 269),),
    "other mammal": (range(101, 107), range(147, 151), range(269, 300), range(330, 389)),
    "vehicle": (
        *(403, 404, 407, 408, 428, 436, 444, 466, 468, 472, 484, 510, 511, 547, 554, 555, 565, 569, 573, 576, 586, 603),
        *(609, 612, 625, 627, 628, 654, 656, 661, 665, 670, 671, 675, 690, 705, 717, 724, 734, 751, 757, 779, 780, 802),
        *(803, 814, 817, 820, 829, 833, 847, 856, 864, 866, 867, 870, 871, 874, 880, 895, 914),
    ),
    "building": (
        *(410, 424, 425, 437, 448, 449, 454, 460, 467, 483, 497, 498, 500, 525, 536, 538, 562, 580, 624, 660, 663),
        *(668, 682, 698, 706, 716, 718, 727, 743, 762, 788, 821, 825, 832, 839, 853, 860, 873, 884),
        *(888, 900, 912),
    ),
    "clothing": (
        *(399, 400, 411, 433, 439, 445, 451, 452, 457, 459, 465, 474, 490, 496, 501, 502, 514, 515, 518, 524, 529),
        *(552, 560, 568, 578, 584, 601, 608, 610, 614, 617, 630, 638, 639, 643, 652, 655, 658, 667, 689, 697, 735),
        *(770, 774, 775, 793, 796, 806, 808, 824, 834, 836, 837, 841, 842, 869, 887, 903, 906),
    ),
    "food or fungus": (range(924, 970), range(987, 998)),
    "container": (
        *(412, 440, 441, 463, 478, 503, 504, 519, 544, 567, 572, 588, 636, 647, 653, 659, 666, 692),
        *(720, 725, 728, 737, 738, 748, 756, 771, 773, 790, 804, 868, 876, 883, 898, 899, 901, 907, 909),
    ),
    "device": (
        *(409, 480, 482, 485, 487, 507, 508, 527, 528, 530, 531, 592, 604, 605, 606, 620, 622, 633, 635, 664),
        *(673, 681, 688, 707, 710, 713, 732, 740, 742, 745, 753, 754, 759, 760, 761, 778, 782, 800, 810, 826, 827),
        *(844, 848, 851, 859, 872, 878, 882, 892),
    ),
    "tool": (
        *(456, 473, 477, 499, 512, 587, 596, 618, 623, 644, 695, 696, 731, 740, 749, 763, 764, 772, 784),
        *(792, 813, 816, 840, 845),
    ),
}


def group(index: int) -> str | None:
    """The group that a class belongs to, the first if there are several."""
    for name, parts in GROUPS.items():
        if any(index in part if isinstance(part, range) else index == part for part in parts):
            return name
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--ask", metavar="OBSERVER")
    options = parser.parse_args()
    members: dict[str, list[Path]] = {name: [] for name in GROUPS}
    for path in sorted(options.photos.iterdir()):
        match = re.match(r"(\d+)_n\d{8}_", path.name)
        name = group(int(match[1])) if match else None
        if name:
            members[name].append(path)
    for name, paths in members.items():
        held_out = 0
        for number, path in enumerate(paths):
            split = "val" if number % options.folds == options.fold % options.folds else "train"
            held_out += split == "val"
            folder = options.output / split / name.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
        print(f"{name:22} {len(paths) - held_out:3} train  {held_out:3} val")
    if options.ask:
        ask(options.ask, options.output / "val")


def ask(name: str, folder: Path) -> None:
    """Print the accuracy of an observer of ImageNet's classes on groups."""
    observer = observers.get(name)
    answers = [
        (path.parent.name, group(observer.classify(load(path), topk=1)[0].index))
        for path in sorted(folder.rglob("*.jpg"))
    ]
    right = sum(truth == (answer or "").replace(" ", "_") for truth, answer in answers)
    print(f"{name}, asked for ImageNet's classes: {right} of {len(answers)} in the right group")


if __name__ == "__main__":
    main()
