"""BLAS runs on one thread while pictures are coded, and as before afterwards, whoever codes at the same time."""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import ThreadpoolController, threadpool_limits

from beholder import threads as threads_module
from beholder.codecs.rnn import Rnn
from beholder.threads import for_each, one_blas_thread, threads


def blas_threads() -> set[int]:
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    with threadpool_limits(3, "blas"):
        if blas_threads() != {3}:
            pytest.skip("this BLAS library takes no number of threads")
        yield


def test_users_who_overlap() -> None:
    """The first to enter leaves first; the limit stays as long as the second needs it, and no longer."""
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert blas_threads() == {1}
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {3}


def test_many_threads() -> None:
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            with one_blas_thread():
                pass

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert blas_threads() == {3}


def test_errors_put_the_threads_back() -> None:
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert blas_threads() == {3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_a_picture_is_coded() -> None:
    with one_blas_thread():
        child = os.fork()
        if not child:
            os._exit(0 if blas_threads() == {3} else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_codec_uses_one_thread_and_puts_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Rnn()
    entropy, seen = codec.model.entropy, []
    for name in ("encode", "decode"):
        whole = getattr(entropy, name)
        monkeypatch.setattr(
            entropy, name, lambda *a, whole=whole, **k: (seen.append(blas_threads()), whole(*a, **k))[1]
        )
    codec.decode(codec.encode(Image.new("RGB", (64, 48), "teal"), 2))
    assert seen == [{1}] * 4
    assert blas_threads() == {3}


@pytest.mark.parametrize("count", ["1", "3", "", "many"])
def test_any_number_of_threads_writes_the_same_bytes(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are shared among threads; which one takes which changes nothing."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 16 * 600, 3), np.uint8))
    codec = Rnn()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = codec.encode(picture, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", count)
    assert threads() >= 1
    assert codec.encode(picture, 1) == expected


def test_errors_of_any_part_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        for_each(lambda x: print(1 / x), [1, 0, 2])


def test_libraries_that_imports_bring_are_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    class Counted(ThreadpoolController):
        def __init__(self) -> None:
            looked.append(True)
            super().__init__()

    with one_blas_thread():
        pass
    monkeypatch.setattr(threads_module, "ThreadpoolController", Counted)
    with one_blas_thread():
        pass
    assert not looked
    monkeypatch.setitem(sys.modules, "a_module_that_nobody_has", types.ModuleType("a_module_that_nobody_has"))
    with one_blas_thread():
        assert looked
