"""The metrics by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from beholder import metrics
from beholder.errors import BadOptionError, NotAvailableError
from beholder.extras import install_command


def test_every_metric_can_be_got_or_says_what_to_install(photo: object) -> None:
    assert {"ms_ssim", "ssim", "psnr", "ssimulacra2", "vif"} <= set(metrics.names())
    for name in metrics.names():
        assert metrics.higher_is_better(name)
        assert metrics.describe(name).title
        if metrics.unavailable(name) is None:
            pixels = np.asarray(photo)
            assert isinstance(metrics.get(name)(pixels, pixels), float)


def test_a_distance_is_better_when_small() -> None:
    assert not metrics.higher_is_better("feature_distance")
    assert "feature_distance" not in metrics.names()


def test_unknown_names() -> None:
    with pytest.raises(BadOptionError, match=r"There is no metric 'magic': choose one of ms_ssim, ssim, psnr"):
        metrics.get("magic")
    with pytest.raises(BadOptionError):
        metrics.get("feature_distance")
    assert metrics.describe("some_other").title == "some other"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchmetrics" else find(name))
    assert metrics.unavailable("vif") == f"The metric vif needs torchmetrics: {install_command('metrics')}."
    with pytest.raises(NotAvailableError, match="needs torchmetrics"):
        metrics.get("vif")
    assert metrics.unavailable("ms_ssim") is None


def test_the_core_metrics_import_no_large_library() -> None:
    code = (
        "import sys; from beholder import metrics;"
        "[metrics.get(n) for n in ('ms_ssim', 'ssim', 'psnr', 'ssimulacra2')];"
        "print([m for m in ('torch', 'scipy', 'torchmetrics', 'ssimulacra2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
