import re
from pathlib import Path

import pytest

from beholder.errors import BadOptionError
from beholder.observers import labels


def test_a_thousand_distinct_classes_in_the_order_of_their_wnids() -> None:
    table = [labels.label(index) for index in range(labels.COUNT)]
    wnids, names = [row[0] for row in table], [row[1] for row in table]
    assert wnids == sorted(set(wnids))
    assert len(set(names)) == 1000
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    assert all(name and name == name.strip() and name.isprintable() for name in names)


@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench"),
        (134, "n02012849", "crane (bird)"),
        (388, "n02510455", "giant panda"),
        (517, "n03126707", "crane (machine)"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_well_known_classes(index: int, wnid: str, name: str) -> None:
    assert labels.label(index) == (wnid, name)


@pytest.mark.parametrize("index", [-1, 1000])
def test_no_class_outside_the_table(index: int) -> None:
    with pytest.raises(BadOptionError, match=f"class {index}: choose 0 to 999"):
        labels.label(index)


def test_agrees_with_the_names_of_the_sample_photos(shared_data: Path) -> None:
    files = sorted((shared_data / "imagenet").glob("*.jpg"))
    assert files
    for file in files:
        index, wnid, _ = file.stem.split("_", 2)
        assert labels.label(int(index))[0] == wnid
