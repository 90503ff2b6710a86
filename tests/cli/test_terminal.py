"""What reaches a terminal: no control character of a strange file, one sentence where output cannot be written."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder.cli import main
from beholder.cli.console import SafeConsole
from beholder.cli.streams import PrintableStream, printable

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
BELL = "pho\x1b]0;owned\x07\x1b[2J\x9b31m\u202eto"


def save(path: Path) -> Path:
    Image.effect_noise((48, 32), 60).convert("RGB").save(path)
    return path


@needs_full
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["codecs"], ["codecs", "--json"], ["data", "--help"], ["info", "x.jpg"]]
)
def test_a_full_disk_at_stdout(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.jpg")
    with open(FULL, "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error == "Error: The output cannot be written (No space left on device): make room, or send it elsewhere.\n"


@needs_full
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_in_a_process_of_its_own(tmp_path: Path, stream: str) -> None:
    save(tmp_path / "x.jpg")
    arguments = ["compress", "x.jpg", "-c", "jpeg", *(["-o", "-"] if stream == "stdout" else [])]
    with open(FULL, "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "beholder", *arguments],
            cwd=tmp_path,
            stdout=full if stream == "stdout" else subprocess.PIPE,
            stderr=full if stream == "stderr" else subprocess.PIPE,
            text=True,
            check=False,
        )
    if stream == "stdout":
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "No space left on device" in done.stderr
    else:  # notes are lost, the work is done
        assert done.returncode in (0, 2)


@pytest.mark.skipif(os.name != "posix", reason="names that Windows lacks")
@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "{photo}", "-c", "jpeg", "-o", "{folder}/x.jpg"],
        ["compress", "{photo}", "-c", "jpeg", "-o", "{folder}/{name}.jpg"],
        ["compress", "{missing}"],
        ["decompress", "{photo}", "-o", "{folder}/{name}.bmp"],
        ["decompress", "{missing}"],
        ["info", "{photo}"],
        ["info", "{photo}", "--json"],
        ["info", "{missing}"],
        ["evaluate-image", "{photo}", "-c", "jpeg"],
        ["evaluate-image", "{photo}", "-c", "jpeg", "--output", "{folder}/{name}"],
        ["evaluate-image", "{photo}", "-c", "{name}"],
        ["data", "info", "{classes}"],
        ["data", "verify", "{classes}"],
        ["data", "create", "--dataset", "folder", "--data", "{classes}", "--output", "{folder}/{name}.d"],
        ["{name}"],
        ["codecs", "--{name}"],
        ["plot", "{missing}"],
    ],
)
def test_names_of_files_never_steer_the_terminal(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / f"{BELL}.jpg")
    for name in (f"{BELL} a", f"{BELL} b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        save(tmp_path / "data" / name / f"{BELL}.png")
    (tmp_path / "data" / f"{BELL} a" / "broken.png").write_text("")
    places = {"photo": photo, "missing": tmp_path / f"{BELL}.none", "folder": tmp_path, "name": BELL}
    filled = [argument.format(**places, classes=tmp_path / "data") for argument in arguments]
    assert main(filled) in (0, 2)
    shown = "".join(capfd.readouterr())
    assert shown
    assert printable(shown) == shown
    if "--json" in arguments:
        json.loads(shown)


def test_rich_keeps_its_colours_and_escapes_names() -> None:
    out = io.StringIO()
    console = SafeConsole(out, width=60)
    console._force_terminal = True
    console._color_system = 1  # type: ignore[assignment]
    from rich.text import Text

    console.print(Text(BELL, "bold red"))
    text = out.getvalue()
    assert "\\u001b]0;owned" in text
    assert "\x1b]0;" not in text
    assert "\x07" not in text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_printable_text(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)
    if text.isprintable():
        assert shown == text
    assert json.loads('"' + printable(json.dumps(text, ensure_ascii=False)[1:-1]) + '"') == text


def test_a_printable_stream_is_otherwise_its_own() -> None:
    inner = io.StringIO()
    stream = PrintableStream(inner, may_fail=True)
    print("a\x1bb", "c", file=stream)  # type: ignore[call-overload]
    stream.writelines(["x\x00\n", "y"])
    assert inner.getvalue() == "a\\u001bb c\nx\\u0000\ny"
    assert stream.getvalue() == inner.getvalue()
    assert not stream.isatty()


# -- folders for results ----------------------------------------------------------------------------


def test_demo_finds_out_first_whether_it_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from beholder.cli.commands import demonstration

    def work(*_: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(demonstration, "run", work)
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "deep" / "er", Path("/proc/no/such"), Path("a" * 300)):
        assert main(["demo", "-o", str(output)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("Error: ")
        assert "choose another" in error
    with pytest.raises(AssertionError, match="begun"):
        main(["demo", "-o", str(tmp_path / "new" / "folder")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]  # looking leaves nothing behind


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_demo_into_a_folder_without_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    try:
        assert main(["demo", "-o", str(tmp_path / "new")]) == 2
    finally:
        tmp_path.chmod(0o700)
    assert "cannot be written (Permission denied)" in capsys.readouterr().err
