"""Progress of one picture: a bar on a terminal where it takes its time, and nothing elsewhere."""

import io
import time
from pathlib import Path

import pytest
from PIL import Image

from beholder import codecs
from beholder.cli import main, progress
from beholder.cli.console import SafeConsole
from beholder.codecs.rnn.codec import Rnn
from beholder.metrics import ms_ssim
from beholder.targets import Bpp, MsSsim, choose
from beholder.targets.search import find


class Terminal(SafeConsole):
    """A terminal of 100 columns that keeps what is shown."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), width=100)
        self._force_terminal = self.is_interactive = True

    @property
    def text(self) -> str:
        shown = self.file
        assert isinstance(shown, io.StringIO)
        return shown.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    console = Terminal()
    monkeypatch.setattr(progress, "terminal", lambda: console)
    return console


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture counts as slow."""
    monkeypatch.setattr(progress, "_SLOW", 0.0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((96, 80), 60).convert("RGB").save(path)
    return path


def shown_soon(terminal: Terminal, word: str) -> bool:
    """Whether ``word`` appears before long."""
    end = time.monotonic() + 20
    while word not in terminal.text and time.monotonic() < end:
        time.sleep(0.02)
    return word in terminal.text


@pytest.mark.usefixtures("slow")
def test_a_slow_picture_shows_steps_time_gone_by_and_time_left(terminal: Terminal) -> None:
    with progress.patient("Compressing") as show:
        for done in range(1, 4):
            show(done, 8)
            time.sleep(0.02)
        assert shown_soon(terminal, "left")
    text = terminal.text
    assert "Compressing" in text
    assert "3/8" in text
    assert "0:00:0" in text


@pytest.mark.usefixtures("slow")
def test_work_without_steps_shows_the_time_gone_by(terminal: Terminal) -> None:
    with progress.patient("Compressing"):
        assert shown_soon(terminal, "0:00:0")
    assert "/?" not in terminal.text


def test_a_fast_picture_shows_nothing(terminal: Terminal) -> None:
    with progress.patient("Compressing") as show:
        show(1, 2)
    assert terminal.text == ""


def test_a_bar_that_comes_late_counts_the_time_before(terminal: Terminal) -> None:
    late = progress._LateBar("Compressing")
    late._begun -= 75
    late.step(1, 9)
    late.step(2, 9)
    late.start()
    late.stop()
    assert "2/9" in terminal.text
    assert "0:01:15" in terminal.text


@pytest.mark.usefixtures("slow")
def test_nothing_is_shown_where_quiet_is_asked_for(terminal: Terminal) -> None:
    with progress.patient("Compressing", hidden=True) as show:
        show(1, 2)
        time.sleep(0.05)
    assert terminal.text == ""


@pytest.mark.usefixtures("slow")
def test_nothing_is_shown_elsewhere_than_on_a_terminal(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(photo), "-q", "1"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("slow")
def test_the_commands_show_progress(photo: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, decode = Rnn._encode, Rnn._decode

    def slow_encode(self: Rnn, image: Image.Image, quality: int, alpha: float) -> bytes:
        assert shown_soon(terminal, "ing")
        return encode(self, image, quality, alpha)

    def slow_decode(self: Rnn, data: bytes, quality: int | None) -> Image.Image:
        assert shown_soon(terminal, "ing")
        return decode(self, data, quality)

    monkeypatch.setattr(Rnn, "_encode", slow_encode)
    monkeypatch.setattr(Rnn, "_decode", slow_decode)
    file = photo.with_suffix(".bhd")
    for arguments, word in (
        (["compress", str(photo), "-q", "2", "--alpha", "1"], "Compressing"),
        (["decompress", str(file), "-o", str(photo.with_name("again.png"))], "Decompressing"),
        (["compress", str(photo), "--bpp", "9", "-f"], "Searching"),
    ):
        assert main(arguments) == 0
        assert word in terminal.text


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_rnn_tells_its_steps_in_order_to_the_end(alpha: float) -> None:
    image = Image.effect_noise((96, 80), 60).convert("RGB")
    codec = codecs.open_codec("rnn")
    for work in (lambda: codec.encode(image, 2, alpha=alpha), lambda: codec.decode(codec.encode(image, 2))):
        told: list[tuple[float, float]] = []
        with codec.watched(lambda done, total, told=told: told.append((done, total))):  # type: ignore[misc]
            work()
        last = [step for step in told if step[0] == step[1]]
        assert last
        assert len({total for _, total in told[: told.index(last[0]) + 1]}) == 1
    count = len(told)
    codec.encode(image, 1)
    assert len(told) == count


@pytest.mark.parametrize("target", [Bpp(2.0), MsSsim(0.9)])
def test_a_search_tells_its_tries(target: Bpp | MsSsim) -> None:
    image = Image.effect_noise((96, 80), 60).convert("RGB")
    told: list[tuple[float, float]] = []
    found = find(codecs.get("jpeg"), image, target, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == found.tries
    assert all(0 < done <= total for done, total in told)
    several: list[tuple[float, float]] = []
    both = [codecs.get("jpeg"), codecs.get("webp")]
    choice = choose(both, image, target, progress=lambda done, total: several.append((done, total)))
    assert several[-1][0] == choice.tries
    assert [done for done, _ in several] == sorted(done for done, _ in several)
    assert ms_ssim(image, codecs.get(choice.best.codec).decode(choice.best.data)) > 0.5
