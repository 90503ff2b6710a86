"""The figures of a sweep, as PNG and SVG: accuracy over rate, picture quality over rate, human against machine.

``plots/accuracy-NAME``
    Accuracy of the classifier, with a second scale for preserved accuracy and a line for originals.  Without labels,
    agreement with the original's top-1.
``plots/accuracy-mean``, ``plots/accuracy``
    Preserved accuracy, mean over classifiers; all classifiers beside one another.
``plots/ms_ssim``, one of each metric
    Picture quality; MS-SSIM in steps of dB, labelled with its values as in every table.
``plots/trade-off``
    At some fixed rates: MS-SSIM to the right, the machine's accuracy upwards, a path from one alpha to the next.

Bands and crosses are 95 % bootstrap intervals over images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from beholder.errors import BadFileError, NotAvailableError, OutputError
from beholder.evaluation.plots import curves as plots_curves
from beholder.evaluation.plots import tradeoff as plots_tradeoff
from beholder.evaluation.summary.curves import MEAN
from beholder.evaluation.summary.summarise import Summary, home, load
from beholder.extras import install_command
from beholder.files import save_atomically

PLOTS = "plots"

_SUFFIXES = ("png", "svg")
_DPI = 200
_RC = {
    # Names of observers and metrics are shown as they are: a $ begins no formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9e9e9",
    "grid.linewidth": 0.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "beholder",
    "svg.fonttype": "path",
}


def write(folder: Path, summary: Summary | None = None) -> list[Path]:
    """Draw the figures of the results in ``folder`` to ``plots/``; their paths.

    Args:
        folder: what ``beholder evaluate --output`` wrote.
        summary: what :func:`beholder.evaluation.summary.summarise.write` returned, to save reading the results again.

    Raises:
        BadFileError: there are no results, or a part is damaged.
        NotAvailableError: matplotlib or pyarrow is not installed.
        OutputError: ``folder`` is not writable.
    """
    mpl = require()
    folder = home(folder)
    summary = summary or load(folder)
    if not summary.rows:
        raise BadFileError(f"The results in {folder} have no rows yet: let the sweep finish.")
    plots_folder = folder / PLOTS
    try:
        plots_folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {plots_folder} cannot be created ({error.strerror}): choose another.") from None
    written = []
    with mpl.rc_context(_RC):
        for name, figure in _figures(summary):
            # One layout for all formats; it takes most of the time.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            for suffix in _SUFFIXES:
                path = plots_folder / f"{name}.{suffix}"
                save_atomically(path, _render(figure, suffix))
                written.append(path)
    return written


def require() -> Any:
    """matplotlib, or NotAvailableError."""
    try:
        import matplotlib
    except ImportError:
        raise NotAvailableError(f"Figures need matplotlib: {install_command('evaluate')}.") from None
    return matplotlib


def _figures(summary: Summary) -> Iterator[tuple[str, Any]]:
    classifiers = [view for view in summary.views if summary.machine(view)]
    if len(classifiers) > 1:
        yield "accuracy", plots_curves.all_accuracies(summary, classifiers)
    for view, name in zip(classifiers, file_names(classifiers), strict=True):
        yield f"accuracy-{name}", plots_curves.accuracy(summary, view)
    for metric in summary.metrics:
        if summary.knows(metric, summary.views[0]):
            yield file_names([metric])[0], plots_curves.metric(summary, metric)
    figure = plots_tradeoff.trade_off(summary)
    if figure is not None:
        yield "trade-off", figure


def file_names(names: Sequence[str | None]) -> list[str]:
    """A plain and unique file name for each of ``names``."""
    result: list[str] = []
    for name in names:
        plain = "mean" if name == MEAN else re.sub(r"[^A-Za-z0-9._-]+", "_", str(name)).strip(".")[:80] or "_"
        while plain in result:
            plain += "_"
        result.append(plain)
    return result


def _render(figure: Any, suffix: str) -> bytes:
    out = BytesIO()
    # Without a date the same results give the same bytes.
    figure.savefig(out, format=suffix, dpi=_DPI, metadata={"Date": None} if suffix == "svg" else {"Software": None})
    return out.getvalue()
