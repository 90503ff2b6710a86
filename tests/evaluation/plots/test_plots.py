"""Figures: they are there, they are pictures, and they show what the summary says."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.text
import pytest
from helpers import fake_results
from helpers.fake_results import row, sweep_rows, table
from PIL import Image

from beholder.errors import BadFileError, NotAvailableError, OutputError
from beholder.evaluation.plots import (
    curves as plots_curves,
)
from beholder.evaluation.plots import (
    figures as plots,
)
from beholder.evaluation.plots import (
    style as plots_style,
)
from beholder.evaluation.plots import (
    tradeoff as plots_tradeoff,
)
from beholder.evaluation.summary.compare import at_rate
from beholder.evaluation.summary.curves import MEAN, Series
from beholder.evaluation.summary.summarise import Summary, summarise
from beholder.extras import install_command
from beholder.metrics import ms_ssim_db


@pytest.fixture(scope="module")
def found() -> Summary:
    return summarise(table(sweep_rows(30)), replicates=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fake_results.write(tmp_path_factory.mktemp("sweep"), sweep_rows(12))
    plots.write(folder)
    return folder


def lines_of(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_every_figure_is_a_picture_and_a_drawing(folder: Path) -> None:
    names = {path.stem for path in (folder / "plots").iterdir()}
    assert names == {"accuracy", "accuracy-mean", "accuracy-lite0", "accuracy-vgg16", "ms_ssim", "psnr", "trade-off"}
    for name in names:
        with Image.open(folder / "plots" / f"{name}.png") as image:
            image.load()
            assert min(image.size) > 600
            # Not a blank page: many colours, and white paper.
            assert len(image.convert("RGB").resize((300, 200)).getcolors(60_000) or range(99)) > 50
        root = ElementTree.parse(folder / "plots" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        assert len(list(root.iter())) > 100


def test_the_same_results_give_the_same_bytes_and_matplotlib_is_left_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(matplotlib.rcParams)
    monkeypatch.setattr(plots, "_SUFFIXES", ("svg",))
    again = plots.write(fake_results.write(tmp_path, sweep_rows(12)))
    assert len(again) == 7
    for path in again:
        assert path.read_bytes() == (folder / "plots" / path.name).read_bytes()
    assert dict(matplotlib.rcParams) == before


NAMES = (r"$\frac{a$", "$$ a_1^{2 100 % \\")


@pytest.mark.filterwarnings("error")
def test_names_are_no_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins with a dollar is drawn as it is, in every label of every figure."""
    monkeypatch.setattr(plots, "_SUFFIXES", ("svg",))
    rows = [
        line | {"classifier": name, "correct": None, "correct5": None, "correct_original": None, "label": None}
        for line in sweep_rows(3)
        if line["classifier"] == "lite0"
        for name in NAMES
    ]
    written = plots.write(fake_results.write(tmp_path, rows))
    assert len(written) >= len(NAMES) + 2
    figure = plots_curves.accuracy(summarise(table(rows), replicates=20), NAMES[0])
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert any(NAMES[0] in text for text in texts)


def test_accuracy_of_one_classifier(found: Summary) -> None:
    axes = plots_curves.accuracy(found, "vgg16").axes[0]
    shown = lines_of(axes)
    assert list(shown) == [style.label for style in plots_style.styles(found.series).values()]
    for series in found.series:
        line = shown[plots_style.styles(found.series)[series].label]
        curve = found.curve("vgg16", series)
        assert list(line.get_xdata()) == pytest.approx([point.value("bpp") for point in curve])
        assert list(line.get_ydata()) == pytest.approx([100 * (point.value("top1") or 0) for point in curve])
    assert axes.get_ylabel() == "Top-1 accuracy (%)"
    original = 100 * (found.curve("vgg16", Series("jpeg"))[0].value("top1_original") or 0)
    assert any(f"{original:.1f}" in text.get_text() for text in axes.texts)
    # Confidence bands, one a curve.
    assert len(axes.collections) == len(found.series)


def test_the_mean_shows_preserved_accuracy(found: Summary) -> None:
    axes = plots_curves.accuracy(found, MEAN).axes[0]
    assert axes.get_ylabel() == "Preserved accuracy (%)"
    curve = found.curve(MEAN, Series("bpg"))
    assert list(lines_of(axes)["BPG"].get_ydata()) == pytest.approx([100 * (p.value("preserved") or 0) for p in curve])


def test_without_labels_agreement_is_drawn() -> None:
    result = summarise(table(sweep_rows(8, labelled=False)), replicates=50)
    assert plots_curves.accuracy(result, "lite0").axes[0].get_ylabel() == "Agreement with the original (%)"


def test_ms_ssim_is_drawn_in_steps_of_decibels_and_named_by_its_value(found: Summary) -> None:
    """One unit in figures, tables and the report: MS-SSIM itself."""
    axes = plots_curves.metric(found, "ms_ssim").axes[0]
    curve = found.curve(MEAN, Series("jpeg"))
    expected = [ms_ssim_db(point.value("ms_ssim") or 0) for point in curve]
    assert list(lines_of(axes)["JPEG"].get_ydata()) == pytest.approx(expected)
    assert axes.get_ylabel() == "MS-SSIM"
    for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        assert ms_ssim_db(float(label.get_text())) == pytest.approx(place)
    figure = plots_tradeoff.trade_off(found)
    assert figure is not None
    for axes in figure.axes:
        labels = [float(label.get_text()) for label in axes.get_xticklabels()]
        assert len(labels) >= 2
        assert all(0 < label < 1 for label in labels)
        assert "dB" not in axes.get_xlabel()


@pytest.mark.parametrize(("low", "high"), [(3, 30), (10, 12), (9.9, 10.4), (0.5, 45), (20, 21)])
def test_round_values_of_ms_ssim(low: float, high: float) -> None:
    ticks = plots_curves.ms_ssim_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= ms_ssim_db(tick) <= high for tick in ticks)
    assert all(len(f"{tick:g}") <= 8 for tick in ticks)


@pytest.mark.parametrize("view", ["vgg16", MEAN])
def test_preserved_accuracy_ends_at_all_or_where_the_highest_interval_does(found: Summary, view: str) -> None:
    axes = plots_curves.accuracy(found, view).axes[0]
    original = found.curve(view, Series("jpeg"))[0].value("top1_original") if view != MEAN else 1.0
    assert original is not None
    highest = max(e.high for r in found.rows if r.classifier == view and (e := r.estimate("preserved")))
    assert axes.get_ylim()[1] == pytest.approx(100 * original * max(1.0, highest))
    calm = summarise(table([row(image=str(i), quality=q, bpp=q, correct=i < 5) for i in range(9) for q in (1, 2)]))
    assert plots_curves.accuracy(calm, "lite0").axes[0].get_ylim()[1] == pytest.approx(100)


def test_axes_show_every_curve(found: Summary) -> None:
    """Also one that keeps nothing, one beyond all others and one of identical pictures."""
    rows = [row(image=str(i), quality=q, bpp=q / 10) for i in range(4) for q in (1, 3)]
    rows += [r | {"codec": "bpg", "bpp": 9 * r["bpp"], "ms_ssim": 1.0, "psnr": 99.0} for r in rows]
    rows += [r | {"codec": "webp", "correct": False, "ms_ssim": 0.1, "psnr": 3.0} for r in rows if r["codec"] == "jpeg"]
    odd = summarise(table(rows), replicates=20)
    for summary in (found, odd):
        view = summary.views[0]
        for figure in (
            plots_curves.accuracy(summary, view),
            *(plots_curves.metric(summary, m) for m in summary.metrics),
        ):
            axes = figure.axes[0]
            shown = lines_of(axes)
            assert len(shown) == len(summary.series)
            (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
            for line in shown.values():
                assert all(left <= x <= right for x in line.get_xdata())
                assert all(bottom <= y <= top + 1e-9 for y in line.get_ydata())


@pytest.mark.parametrize(("rates", "scale"), [((0.1, 0.5), "linear"), ((0.1, 0.7), "log")])
def test_rates_are_logarithmic_where_they_span_much(rates: Sequence[float], scale: str) -> None:
    _figure, axes = plots_curves.new_figure((4, 3))
    plots_curves.rate_axis(axes, *rates)
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < rates[0] < rates[1] < high


def test_the_trade_off_is_read_from_the_curves(found: Summary) -> None:
    panels = plots_tradeoff.choose(found, MEAN)
    assert 1 <= len(panels) <= 4
    for bpp, points in panels.items():
        assert set(points) == set(found.series)
        for series, (human, machine) in points.items():
            curve = found.curve(MEAN, series)
            assert (human, machine) == (at_rate(curve, "ms_ssim", bpp), at_rate(curve, "preserved", bpp))
        # What the rows were made to say: a larger alpha serves machines at the cost of people.
        human = [points[Series("rnn", alpha)][0].value for alpha in (0.0, 0.5, 1.0)]
        assert human == sorted(human, reverse=True)


def test_a_trade_off_needs_two_points_and_both_measures() -> None:
    assert plots_tradeoff.trade_off(summarise(table([row()]), replicates=5)) is None
    assert plots_tradeoff.trade_off(summarise(table(sweep_rows(4, (None,))), replicates=5)) is None


def test_colours_and_dashes() -> None:
    series = [Series("rnn", a) for a in (0.0, 0.5, 1.0)] + [Series(c) for c in ("jpeg", "flif", "jxl", "other", "bpg")]
    looks = plots_style.styles(series)
    assert len({style.colour for style in looks.values()}) == len(series)
    assert len({style.marker for one, style in looks.items() if one.alpha is None}) == 5
    assert len({looks[one].dash for one in series[:3]}) == 3
    assert len({looks[one].marker for one in series[:3]}) == 3
    # A codec keeps its colour, whatever is beside it.
    assert plots_style.styles([Series("bpg")])[Series("bpg")].colour == looks[Series("bpg")].colour
    brightness = [sum(int(looks[one].colour[i : i + 2], 16) for i in (1, 3, 5)) for one in series[:3]]
    assert brightness == sorted(brightness, reverse=True)


def test_odd_sweeps_can_be_drawn(tmp_path: Path) -> None:
    """One point, no classifier, a hostile name, values that are not finite."""
    rows = [row(classifier="../../etc/$(x)\n"), row(classifier="../../etc/$(x) ", codec="%s$x_1^", quality=3)]
    rows.append(row(image="b", codec="jpeg", classifier="_", psnr=float("inf"), ms_ssim=1.0, correct_original=False))
    written = plots.write(fake_results.write(tmp_path / "odd", rows, parts=1))
    assert all(path.parent == tmp_path / "odd" / "plots" and path.is_file() for path in written)
    without = plots.write(fake_results.write(tmp_path / "without", sweep_rows(3, (None,))))
    assert {path.stem for path in without} == {"ms_ssim", "psnr"}


def test_file_names_are_plain_and_unique() -> None:
    assert plots.file_names([MEAN, "a/b", "a b", "..", "x" * 200]) == ["mean", "a_b", "a_b_", "_", "x" * 80]


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadFileError, match="There are no results"):
        plots.write(tmp_path)
    empty = fake_results.write(tmp_path / "empty", [], parts=1)
    with pytest.raises(BadFileError, match="have no rows yet"):
        plots.write(empty)
    blocked = fake_results.write(tmp_path / "blocked", sweep_rows(2))
    (blocked / "plots").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be created"):
        plots.write(blocked)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NotAvailableError, match=re.escape(f"Figures need matplotlib: {install_command('evaluate')}")):
        plots.write(blocked)
