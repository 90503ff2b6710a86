"""Whatever is wrong: one clear sentence on stderr, exit code 2, no output file, nothing overwritten."""

import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from beholder import codecs
from beholder.cli import main
from beholder.codecs.rnn import bitstream
from beholder.extras import install_command

Fail = Callable[..., str]


@pytest.fixture
def fail(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fail:
    """Run a command that must fail, in a folder with photo.png; the sentence."""
    photo.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        before = listing(tmp_path)
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert listing(tmp_path) == before
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("Error: ")
        assert captured.err.rstrip().endswith(".")
        assert "Traceback" not in captured.err
        return captured.err

    return call


@pytest.fixture(scope="module")
def bhd() -> bytes:
    """A whole file of two iterations."""
    return codecs.get("rnn").encode(Image.linear_gradient("L").resize((48, 40)).convert("RGB"), 2)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def huge_png() -> bytes:
    """40,000 x 40,000 pixels, according to its header."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "PNG")
    header = b"IHDR" + struct.pack(">II", 40_000, 40_000) + out.getvalue()[24:29]
    return out.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + out.getvalue()[33:]


def huge_jpeg() -> bytes:
    data = bytearray(codecs.get("jpeg").encode(Image.new("RGB", (8, 8))))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 40_000, 40_000)
    return bytes(data)


def huge_bhd(data: bytes) -> bytes:
    side = bytes([0x80 | 40_000 & 0x7F, 0x80 | 40_000 >> 7 & 0x7F, 40_000 >> 14])
    assert data[13:15] == bytes([48, 40])
    return data[:13] + side + side + data[15:]


def foreign_bhd(data: bytes) -> bytes:
    stream = bitstream.read(data)
    stream.model = bytes(8)
    return bitstream.write(stream)


COMMANDS = ("compress", "evaluate-image")


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_image(fail: Fail, command: str) -> None:
    assert "no file missing.jpg" in fail(command, "missing.jpg")


@pytest.mark.parametrize("command", COMMANDS)
def test_text_file_named_jpg(fail: Fail, command: str) -> None:
    Path("text.jpg").write_text("This is not a picture.\n" * 10)
    assert "text.jpg is not an image" in fail(command, "text.jpg")


@pytest.mark.parametrize("command", COMMANDS)
def test_truncated_image(fail: Fail, command: str) -> None:
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:3000])
    assert "damaged or truncated" in fail(command, "cut.png")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("make", [huge_png, huge_jpeg])
def test_huge_image(fail: Fail, command: str, make: Callable[[], bytes]) -> None:
    Path("huge").write_bytes(make())
    assert "limit of 200,000,000 pixels" in fail(command, "huge", "-c", "jpeg")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quality", "13"], "Quality 13 is outside the scale of rnn"),
        (["--quality", "0"], "Quality 0"),
        (["--quality", "52", "--codec", "bpg"], "0 to 51"),
        (["--quality", "high"], "valid integer"),
        (["--alpha", "2"], "Alpha 2 is outside [0, 1]"),
        (["--alpha", "nan"], "Alpha nan"),
        (["--codec", "gif"], "no codec 'gif': choose one of rnn, jpeg, webp, bpg"),
        (["--model", "nowhere"], "no codec model in nowhere"),
        (["--model", "nowhere", "--codec", "bpg"], "takes no model"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_options(fail: Fail, command: str, options: list[str], message: str) -> None:
    assert message in fail(command, "photo.png", *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classifier", "oracle"], "no classifier 'oracle': choose one of efficientnet_lite0"),
        (["--topk", "0"], "1 to 1000"),
        (["--protocol", "kodak"], "choose one of native, paper"),
        (["--output", "photo.png"], "photo.png is no folder"),
        (["--output", "photo.png/results"], "cannot be created"),
    ],
)
def test_bad_options_of_eval_image(fail: Fail, options: list[str], message: str) -> None:
    assert message in fail("evaluate-image", "photo.png", "--codec", "jpeg", "--json", *options)


def test_a_name_that_looks_like_an_option(fail: Fail) -> None:
    Path("-dash.png").write_bytes(Path("photo.png").read_bytes())
    assert fail("compress", "-dash.png").rstrip().endswith("A file of that name is written ./-dash.png.")
    assert "./" not in fail("compress", "-nothing.png")


@pytest.mark.parametrize("arguments", [["nonsense"], ["compress"], ["train", "codec"], ["train", "nonsense"]])
def test_bad_command_lines(fail: Fail, arguments: list[str]) -> None:
    assert "--help`" in fail(*arguments)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-3], "ends inside segment 2 of 2"),
        (lambda data: data[:30], "before its first segment"),
        (lambda data: data[:9], "ends inside its header"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum of segment 2 is wrong"),
        (lambda data: data + b"more", "Bytes follow"),
        (foreign_bhd, "model"),
        (huge_bhd, "40000 x 40000"),
        (lambda data: data[:4] + b"\x63" + data[5:], "version 99"),
        (lambda data: b"", "empty"),
        (lambda data: b"GIF89a" + data, "not in a format"),
    ],
    ids=["cut", "cut-early", "cut-header", "checksum", "trailing", "foreign", "huge", "version", "empty", "gif"],
)
def test_bad_bhd_files(fail: Fail, bhd: bytes, damage: Callable[[bytes], bytes], message: str) -> None:
    Path("file.bhd").write_bytes(damage(bhd))
    assert message in fail("decompress", "file.bhd")


def test_truncated_bhd_still_gives_its_whole_segments(fail: Fail, bhd: bytes) -> None:
    Path("file.bhd").write_bytes(bhd[:-3])
    assert "quality 1" in fail("decompress", "file.bhd")
    assert main(["decompress", "file.bhd", "--quality", "1"]) == 0


def test_quality_that_the_file_does_not_hold(fail: Fail, bhd: bytes) -> None:
    Path("file.bhd").write_bytes(bhd)
    for quality in ("0", "3", "9"):
        assert f"Quality {quality}" in fail("decompress", "file.bhd", "--quality", quality)


@pytest.mark.parametrize("command", ["decompress", "info"])
def test_missing_and_huge_compressed_files(fail: Fail, command: str, bhd: bytes) -> None:
    assert "no file missing.bhd" in fail(command, "missing.bhd")
    assert ("is a folder" if command == "decompress" else "nothing to do") in fail(command, ".")
    Path("huge.jpg").write_bytes(huge_jpeg())
    assert "pixels" in fail(command, "huge.jpg")
    Path("huge.bhd").write_bytes(huge_bhd(bhd))
    assert "40000 x 40000" in fail(command, "huge.bhd")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nowhere/out.jpg", "no folder nowhere"),
        ("photo.png/out.jpg", "photo.png"),
        ("there.jpg", "--force"),
        ("photo.png", "input itself"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_outputs_that_cannot_be_written(fail: Fail, output: str, message: str) -> None:
    Path("there.jpg").write_text("precious")
    assert message in fail("compress", "photo.png", "--codec", "jpeg", "--output", output)
    Path("source.webp").write_bytes(codecs.get("webp").encode(Image.new("RGB", (4, 4))))
    if message != "input itself" and len(output) < 300:
        output += "" if output.endswith(".jpg") else ".jpg"
        Path("folder.jpg").mkdir()
        fail("decompress", "source.webp", "--output", output)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(fail: Fail) -> None:
    Path("locked").mkdir(mode=0o555)
    assert "read-only" in fail("compress", "photo.png", "-c", "jpeg", "-o", "locked/out.jpg")


def test_default_output_never_replaces_the_input(fail: Fail) -> None:
    Image.new("RGB", (8, 8)).save("picture.jpg")
    assert "input itself" in fail("compress", "picture.jpg", "-c", "jpeg", "--force")


def test_force_overwrites(fail: Fail) -> None:
    Path("photo.jpg").write_text("old")
    fail("compress", "photo.png", "-c", "jpeg")
    assert main(["compress", "photo.png", "-c", "jpeg", "--force"]) == 0
    assert Path("photo.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_suffix_of_pictures(fail: Fail) -> None:
    assert ".png, .webp" in fail("decompress", "missing.bhd", "-o", "out.xyz")
    assert "(none)" in fail("decompress", "missing.bhd", "-o", "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "2"], "Alpha 2"),
        (["--alpha", "all"], "or any"),
        (["--train-data", "missing"], "no folder missing"),
        (["--job-id", "../job"], "plain name"),
        (["--device", "tpu"], "auto, cpu or cuda"),
    ],
)
def test_bad_options_of_training(fail: Fail, options: list[str], message: str) -> None:
    good = ["--train-data", ".", "--val-data", ".", "--alpha", "any", "--job-id", "job", "--config", "swift"]
    assert message in fail("train", "codec", *good, *options)


def test_training_without_torch_says_what_to_install(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    good = ["--train-data", ".", "--val-data", ".", "--alpha", "any", "--job-id", "job", "--config", "swift"]
    assert install_command("train") in fail("train", "codec", *good)
    assert install_command("train") in fail("export", "last.pt", "--output", "out")


def test_export_wants_one_source(fail: Fail) -> None:
    assert "either" in fail("export", "--output", "out")
    assert "either" in fail("export", "last.pt", "--job-id", "job", "--output", "out")


def test_errors_reach_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "beholder", "compress", "missing.jpg"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "Error: There is no file missing.jpg: check the path.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_interruption(tmp_path: Path) -> None:
    # Reading standard input, the program waits until it is interrupted.
    command = [sys.executable, "-u", "-m", "beholder", "compress", "-", "-o", "out.jpg", "-c", "jpeg"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    # A whole pipe of zeros is only taken once the program reads.
    process.stdin.write(bytes(1 << 20))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == b"Interrupted.\n"
    assert list(tmp_path.iterdir()) == []


def test_efforts_that_are_none(fail: Fail) -> None:
    assert "choose 0" in fail("compress", "photo.png", "--effort", "4")
    assert "only rnn" in fail("compress", "photo.png", "--codec", "jpeg", "--effort", "1")
    assert "only rnn" in fail("evaluate-image", "photo.png", "--codec", "webp", "--effort", "2")
    assert "add rnn" in fail("evaluate", "--data", ".", "--output", "out", "--codecs", "jpeg", "--effort", "1")


def test_weights_to_start_from_that_are_not_there(fail: Fail) -> None:
    pytest.importorskip("torch")
    options = ("--train-data", ".", "--val-data", ".", "--alpha", "any", "--job-id", "mine")
    assert "--start-from" in fail("train", "codec", *options, "--start-from", "nowhere")


@pytest.mark.parametrize("command", ["compress - -o a.bhd", "decompress - -o a.png", "info -"])
def test_standard_input_has_the_limit_of_files(command: str, tmp_path: Path) -> None:
    """No more is read than shows that it is too much."""
    script = (
        "import sys\nfrom beholder import limits\nlimits.MAX_FILE_BYTES = 1000\n"
        "from beholder.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *command.split()],
        cwd=tmp_path,
        input=b"\x89PNG" * 1000,
        capture_output=True,
        timeout=60,
    )
    assert process.returncode == 2
    assert b"larger than" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
