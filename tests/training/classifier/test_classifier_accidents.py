"""`beholder train classifier` when something is wrong: pictures, numbers, files, options."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

import torch
from helpers.classifier_toy import SETTINGS, Run, checkpoint, photos, run, same, toy

from beholder import observers
from beholder.errors import BadFileError, BadOptionError, BeholderError, OutputError
from beholder.training.classifier.state import read

__all__ = ["photos", "run", "toy"]  # fixtures

# Accidents.


def test_a_step_that_is_not_finite_changes_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beholder.training.classifier import module

    step = module.ClassifierModule.train_step
    seen: list[bool] = []

    def watched(self: Any, data: Any) -> Any:
        def state() -> list[Any]:
            variables = [*self.network.weights, *self.optimizer.variables, *self.metric_variables()]
            return [variable.value.detach().clone() for variable in variables]

        before = state()
        self._mean = np.full(3, np.nan if len(seen) == 2 else 127, np.float32)
        logs = step(self, data)
        seen.append(same(state(), before))
        return logs

    monkeypatch.setattr(module.ClassifierModule, "train_step", watched)
    run(epochs=2)
    assert [number for number, unchanged in enumerate(seen) if unchanged] == [2]
    progress = checkpoint(tmp_path)["progress"]
    assert progress["skipped"] == 1
    assert np.isfinite([list(row.values()) for row in progress["history"]]).all()


def test_a_job_that_diverges_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from beholder.training.classifier import module

    monkeypatch.setattr(module, "PATIENCE", 3)
    with pytest.raises(BeholderError, match=r"The last 3 steps .* lower learning_rate"):
        run(optimizer={"name": "sgd"}, learning_rate={"initial": 100}, weight_decay=1)


def test_broken_pictures_are_told_and_left_out(
    run: Run, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "train" / "red" / "3.png").write_bytes(b"no picture")
    (data / "val" / "blue" / "2.png").write_bytes((photos / "val" / "blue" / "2.png").read_bytes()[:300])
    outcome = run(train_data=data / "train", val_data=data / "val", epochs=5, workers=1)
    assert outcome.accuracy == 1
    warnings = capfd.readouterr().err
    assert "3.png is not an image" in warnings
    assert "2.png is damaged" in warnings
    for path in (data / "train").rglob("*.png"):
        if path.stem == "3":
            path.write_bytes(b"no picture")
        else:
            path.unlink()
    with pytest.raises(BeholderError, match=r"20 pictures in a row .*is not an image"):
        run("second", train_data=data / "train", workers=1)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(run: Run, tmp_path: Path, policy: str) -> None:
    """Weights stay float32, the scale of float16 is in the checkpoint, and the observer is float32."""
    run(precision=policy, epochs=2)
    content = checkpoint(tmp_path)
    assert {value.dtype for value in content["weights"] if value.is_floating_point()} == {torch.float32}
    assert any(float(value) == 2**15 for value in content["optimizer"] if value.ndim == 0) == (
        policy == "mixed_float16"
    )
    assert content["progress"]["best"] > 0.5
    assert observers.get("toy").ready()


# Jobs that cannot start.


def test_jobs_that_exist(run: Run) -> None:
    run(epochs=1)
    with pytest.raises(BadOptionError, match="an observer toy already"):
        run(epochs=1)
    with pytest.raises(BadOptionError, match="an observer mobilenet already"):
        run("mobilenet", epochs=1)
    with pytest.raises(BadFileError, match=r"no job .* to resume"):
        run("unknown", resume=True)


def test_a_job_that_was_stopped_is_not_started_anew(run: Run, tmp_path: Path) -> None:
    run(epochs=1)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(OutputError, match="--resume"):
        run(epochs=1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batch": 4}, "batch 8, now 4"),
        ({"learning_rate": SETTINGS["learning_rate"] | {"initial": 0.1}}, "learning_rate.initial 0.01, now 0.1"),
        ({"train_layers": "head"}, 'train_layers "all", now "head"'),
        ({"pretrained": "imagenet"}, 'pretrained null, now "imagenet"'),
    ],
)
def test_resumed_with_other_settings(run: Run, changed: dict[str, Any], words: str) -> None:
    run(epochs=1)
    with pytest.raises(BadOptionError, match=words):
        run(resume=True, **({"epochs": 1} | changed))


def test_resumed_with_other_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    run(epochs=1)
    with pytest.raises(BadFileError, match="other numbers of pictures"):
        run(epochs=1, resume=True, val_data=photos / "train")


def test_damaged_checkpoints(run: Run, photos: Path, tmp_path: Path) -> None:
    run(epochs=1)
    path = tmp_path / "runs" / "toy" / "last.pt"
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"not a checkpoint", data[:100] + bytes(500) + data[600:]):
        path.write_bytes(damaged)
        for options in ({"resume": True}, {"job_id": "other", "pretrained": str(path)}):
            with pytest.raises(BadFileError, match=r"^[^\n]*\.$"):
                run(epochs=1, **options)
        assert path.read_bytes() == damaged


def test_checkpoints_run_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"format": 1, "terms": Evil()}, tmp_path / "last.pt")
    with pytest.raises(BadFileError, match="no checkpoint"):
        read(tmp_path / "last.pt")
    assert not (tmp_path / "owned").exists()


def test_data_that_cannot_be_used(run: Run, photos: Path, tmp_path: Path) -> None:
    fewer, one, none = tmp_path / "fewer", tmp_path / "one", tmp_path / "none"
    shutil.copytree(photos / "val", fewer)
    shutil.rmtree(fewer / "blue")
    shutil.copytree(fewer, tmp_path / "renamed")
    shutil.copytree(photos / "val" / "blue", tmp_path / "renamed" / "azure")
    shutil.copytree(photos / "val" / "blue", none)
    shutil.copytree(photos / "val" / "blue", one / "n01440764")
    for options, words in [
        ({"val_data": fewer}, "has 3 classes but the validation data 2 .one side lacks blue."),
        ({"val_data": tmp_path / "renamed"}, "'blue' in the training data but 'azure' in the validation data"),
        ({"val_data": none}, "have no labels"),
        ({"train_data": one}, "are of one class"),
        ({"train_data": tmp_path / "missing"}, "missing"),
        ({"train_layers": "stem,dens"}, "no layer whose name begins with 'dens'"),
        ({"train_layers": "predictoins"}, "did you mean predictions"),
        ({"train_layers": "stem_relu"}, "have no weights that could learn"),
        ({"pretrained": str(tmp_path / "missing.h5")}, "no file of weights"),
        ({"input_size": 224}, "takes 32 x 32 pixels, not 224"),
        ({"device": "cuda"}, "no CUDA device"),
    ]:
        if options.get("device") == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(BeholderError, match=words) as caught:
            run(**options)
        assert str(caught.value).count("\n") == 0
        assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run()
