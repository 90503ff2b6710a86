"""A sweep on a Ray cluster, real but on one machine: nodes die in the middle, the rows stay the same."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.photos import make_photo

from beholder.errors import NotAvailableError
from beholder.evaluation.sweep import cluster, results
from beholder.evaluation.sweep import run as sweep
from beholder.evaluation.sweep import settings as sweep_settings
from beholder.evaluation.sweep.run import Progress
from beholder.evaluation.sweep.settings import Settings

pytestmark = pytest.mark.xdist_group("ray")  # one process, for its cluster

IMAGES = 8
STORE = 100 << 20
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        make_photo(120, 90, seed=number).save(folder / f"{number:04d}_photo.png")
    (folder / "0003_broken.png").write_bytes(b"broken")
    grid = {"rnn": [1, 3], "jpeg": [5, 50], "bpg": [40]}
    return sweep_settings.prepare(folder, codecs=list(grid), qualities=grid, alphas=[0.5], gallery=2)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each, and a head without."""
    pytest.importorskip("ray", reason='needs Ray: pip install "beholder[cluster]"')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        made = _start()
        yield made
        made.shutdown()


def _start(tries: int = 3) -> Any:
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        for cores in (0, 1, 1):
            made.add_node(num_cpus=cores, object_store_memory=STORE, include_dashboard=False)
    except Exception:  # Ray gives a node 15 seconds to start its helpers, which a busy machine may need
        made.shutdown()
        if tries == 1:
            raise
        return _start(tries - 1)
    return made


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = results.read(folder).to_pylist()
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]


@pytest.mark.slow
def test_what_is_wrong_on_a_node_is_told_in_a_sentence(nodes: Any, settings: Settings, tmp_path: Path) -> None:
    strange = replace(settings, versions=(*settings.versions, ("sandwich", "1.0")))
    with pytest.raises(NotAvailableError, match=r"On .*: The version of sandwich"):
        sweep.run(strange, tmp_path / "out", runner=cluster.tasks(nodes.address))


@pytest.mark.slow
def test_node_that_dies_in_the_middle_changes_nothing(nodes: Any, settings: Settings, tmp_path: Path) -> None:
    lost: list[str] = []

    def kill(now: Progress) -> None:
        # Whoever is done first has the next batch at hand; most batches are not even handed out yet.
        if now.images and not lost:
            first = next(results.parts(tmp_path / "ray")).worker.partition(":")[0]
            nodes.remove_node(next(node for node in nodes.worker_nodes if node.node_id == first), allow_graceful=False)
            lost.append(first)

    outcome = sweep.run(settings, tmp_path / "ray", runner=cluster.tasks(nodes.address), progress=kill)
    workers = {part.worker.partition(":")[0] for part in results.parts(tmp_path / "ray")}
    assert len(workers) == 2
    assert lost[0] in workers

    alone = sweep.run(settings, tmp_path / "alone")
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")
    assert replace(outcome, folder=alone.folder) == alone
    pictures = {path.relative_to(tmp_path / "alone"): path.read_bytes() for path in tmp_path.glob("alone/**/*.png")}
    assert pictures
    assert {path.relative_to(tmp_path / "ray"): path.read_bytes() for path in tmp_path.glob("ray/**/*.png")} == pictures


def test_without_ray_the_package_is_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NotAvailableError, match=r"\[cluster\]"):
        sweep.run(settings, tmp_path / "out", runner=cluster.tasks("local"))


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense", "127.0.0.1:99999999"])
def test_address_where_nobody_answers(address: str, settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "beholder[cluster]"')
    with socket.socket() as closed:
        closed.bind(("", 0))
        port = closed.getsockname()[1]
    where = address.format(port=port)
    with pytest.raises(NotAvailableError, match=f"No Ray cluster at {where} can be joined"):
        sweep.run(settings, tmp_path / "out", runner=cluster.tasks(where))
