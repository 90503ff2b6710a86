"""Utilisation of the machine by a training run: arithmetic done against what large matrix products reach.

A fraction far below what the same machine reached before says that something else is the bottleneck: data, small
kernels, another program.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

SIDE = {"cpu": 1024, "cuda": 8192}
SECONDS = 0.5


class Speed:
    """Counts the arithmetic of a training step once for each kind of step.

    Args:
        device: where training runs.
        mixed: with 16-bit floats, whose peak is higher.
    """

    def __init__(self, device: torch.device, mixed: bool) -> None:
        self.peak = peak(device, torch.bfloat16 if mixed else torch.float32)
        self._counts: dict[Hashable, int] = {}
        self._operations = 0

    @contextmanager
    def counting(self, phase: Mapping[str, int], part: str) -> Iterator[None]:
        """Around one step: counts its operations if this is the first of its kind."""
        key = (part, *sorted(phase.items()))
        if key in self._counts:
            self._operations = self._counts[key]
            yield
            return
        with torch.compiler.set_stance("force_eager"), _Operations() as counter:
            yield
        self._operations = self._counts[key] = counter.total

    def fraction(self, steps_per_second: float) -> float:
        """Part of the peak that this many steps a second use, 0 to 1."""
        return self._operations * steps_per_second / self.peak


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiplications and additions of matrix products and convolutions.

    torch's FlopCounterMode hooks into modules besides, which fails for views of parameters made without gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@functools.cache
def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of large matrix products, measured once for half a second; multiply and add are two."""
    side = SIDE.get(device.type, 4096)
    a = torch.randn(side, side, device=device).to(dtype)
    best = 0.0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or not best:
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
