"""A sweep on a Ray cluster: batches are tasks, which Ray runs again when their worker or node dies.

Every machine needs the same Beholder, and the data and the weights at the same path or URL. Each machine checks that
they are the same. Only this process writes results, so nothing else need be shared.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from beholder.errors import BeholderError, NotAvailableError
from beholder.evaluation.sweep.jobs import Batch
from beholder.evaluation.sweep.results import BatchResult
from beholder.evaluation.sweep.settings import Settings
from beholder.evaluation.sweep.workers import Runner, run_batch, use_one_thread
from beholder.extras import install_command

LOCAL = "local"
"""In place of an address: a cluster of this machine alone, for the time of the sweep."""

_RETRIES = 5
_OBJECT_STORE = 256 << 20  # results are small; Ray's default is a third of the memory
_PATIENCE = 60.0  # seconds without any result after which we look whether anybody is left
_KNOCK = 10.0  # seconds to wait for a cluster to answer
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def tasks(address: str, count: int | None = None) -> Runner:
    """A runner on the Ray cluster at ``address``, one core and one thread a batch.

    Args:
        address: ``local``, ``auto``, ``host:port`` or ``ray://host:port``.
        count: cores to use; None for all.

    Raises:
        NotAvailableError: Ray is not installed, nobody answers, or all workers have died.
    """

    def run(settings: Settings, batches: Sequence[Batch]) -> Iterator[BatchResult]:
        if not batches:
            return
        ray = _ray()
        with _connected(ray, address, count):
            yield from _drain(ray, settings, deque(batches), None if address == LOCAL else count)

    return run


def _drain(ray: Any, settings: Settings, waiting: deque[Batch], count: int | None) -> Iterator[BatchResult]:
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_batch)
    running: list[Any] = []
    while waiting or running:
        window = count or 2 * max(1, _cores(ray))
        # No more than a window, so that results do not pile up where writing is slow.
        while waiting and len(running) < window:
            running.append(task.remote(settings, waiting.popleft()))
        ready, running = ray.wait(running, num_returns=1, timeout=_PATIENCE)
        if not ready and not _cores(ray):
            raise NotAvailableError("The Ray cluster has no worker left: start some, and go on with --resume.")
        for reference in ready:
            yield _get(ray, reference)


def _batch(settings: Settings, batch: Batch) -> BatchResult | BeholderError:
    """Work of a Ray worker."""
    ray = _ray()
    use_one_thread()
    try:
        result = run_batch(settings, batch)
    except BeholderError as error:  # as a value, since Ray would wrap it into one of its own
        return type(error)(f"On {socket.gethostname()}: {error}")
    result.worker = f"{ray.get_runtime_context().get_node_id()}:{os.getpid()}"
    return result


def _get(ray: Any, reference: Any) -> BatchResult:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayTaskError:  # a bug, with its traceback
        raise
    except ray.exceptions.RayError as error:
        raise NotAvailableError(
            f"Ray gave a batch up after {_RETRIES} more tries ({type(error).__name__}), often for lack of memory: give "
            "its nodes fewer CPUs, and go on with --resume."
        ) from None
    if isinstance(result, BeholderError):
        raise result
    assert isinstance(result, BatchResult)
    return result


def _cores(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


@contextlib.contextmanager
def _connected(ray: Any, address: str, count: int | None) -> Iterator[None]:
    """Join the cluster, or start one; leave it, or stop it, in the end."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {
            "num_cpus": count or os.cpu_count(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
        }
    try:
        _knock(ray, address)
        ray.init(address=address, **options)
    except Exception as error:  # of a dozen classes, the plainest among them
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise NotAvailableError(
            f"No Ray cluster at {address} can be joined ({reason}): check the address, or use `--ray local`."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(ray: Any, address: str) -> None:
    """Raise OSError if nobody listens at ``address``: Ray would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    hosts = [host.strip("[]")]
    if hosts[0] in ("localhost", "127.0.0.1"):
        hosts.append(ray.util.get_node_ip_address())  # which Ray takes it for
    for number, candidate in enumerate(hosts, 1):
        try:
            socket.create_connection((candidate, int(port)), _KNOCK).close()
            return
        except (OSError, OverflowError) as error:
            if number == len(hosts):
                raise OSError(f"nobody answers: {error}") from None


def _ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise NotAvailableError(f"A sweep on many machines needs Ray: {install_command('cluster')}.") from None
    return ray
