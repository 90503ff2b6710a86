"""One word for one thing (docs/glossary.md): words that the literature or the glossary replaced do not come back.

Counted in the names, docstrings, comments and messages of ``src``.  A string without a space is no message: it may be a
key of stored weights or of a config, which belong to their formats.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("sources")  # one process, for reading all sources takes seconds

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "beholder"
NEURAL = ("codecs/rnn/", "training/codec/", "training/weber2020/")
"""Where words of everyday English had a meaning of their own."""
EVERYWHERE = ("",)


@dataclass(frozen=True)
class Rule:
    """Words that are not used.

    Args:
        use: what is said instead.
        names: pattern of a whole part of a name (``eye`` in ``eye_width``).
        prose: pattern of docstrings, comments and messages.
        folders: beginnings of the paths that are searched.
    """

    use: str
    names: str = ""
    prose: str = ""
    folders: tuple[str, ...] = EVERYWHERE


RULES = (
    Rule("y_hat", "beliefs?", r"\bbeliefs?\b"),
    Rule("hidden state, recur", "memory|remember", r"\bremember|\brecurrent memory\b", NEURAL),
    Rule("Objective; observer", "judges?", r"\b(a|the) judges?\b"),
    Rule("human; people", "eyes?", r"\beyes?\b"),
    Rule("RateEstimate, rate_gradient; multiplier", "prices?", r"\bprices?\b"),
    Rule("OptimiserSchedule, epsilon", "paces?|steady", r"\bpaces?\b|\bsteady\b"),
    Rule("optimise", "search(ed|ing|es)?", r"\bsearch(ed|ing|es)?\b", NEURAL),
    Rule("optimised_for, bpp_target, output, entry_point", "targets?"),
    Rule("film_index", "rows?", "", ("codecs/rnn/torch/refinement", "codecs/rnn/torch/machine_refinement")),
    Rule("residual_scale, half_width", "reach", r"\breach of\b"),
    Rule("machine_weight, step_ratio, fraction", "shares?", r"\bshares? of\b|'s share\b"),
    Rule("step_in_finest_units", "worth", "", NEURAL),
    Rule("prior_channels, features", "seen", "", NEURAL),
    Rule("apply, read", "takes?", "", NEURAL),
    Rule("state", "now", "", NEURAL),
    Rule("linear reconstruction", "drafts?", r"\bdrafts?\b"),
    Rule("channel_rms", "spreads?", r"\bspreads?\b", NEURAL),
    Rule("low-frequency channels", "thumbnails?", r"\bthumbnails?\b"),
    Rule("block activity", "contrasts?", r"\bcontrasts?\b"),
    Rule("lapped-transform codec", "swift", r"(?<!`)\bswift\b(?!`)"),
    Rule("process group", "together", "", NEURAL),
    Rule("training module", "trainees?", r"\btrainees?\b"),
    Rule("weber2020", "paper", r"\bpaper's (codec|network)\b"),
    Rule("opacity", "transparen(t|cy)", r"\btransparen(t|cy)\b"),
)

ANY_PROSE = re.compile("|".join(rule.prose for rule in RULES if rule.prose))


@dataclass(frozen=True)
class Allowed:
    """Exception from the rules.

    Args:
        text: a whole name; or, with a space or a quote in it, a part of a line of prose.
        reason: why the word stays.
        paths: beginnings of the paths where it does.
    """

    text: str
    reason: str
    paths: tuple[str, ...] = EVERYWHERE


RNN, TORCH = "codecs/rnn/", "codecs/rnn/torch/"
TARGETS = ("targets/", "api.py", "batch/", "cli/", "serve/answers.py", "errors.py", "__init__.py")
SSIM = ("metrics/similarity.py", "codecs/rnn/optimise/", "codecs/rnn/torch/human_distortion.py", "metrics/ssimulacra2/")
ALLOWED = (
    # Stored in weights, graphs and configs: part of their formats.
    Allowed("eye_network", "weights", (TORCH,)),
    Allowed("eye_linear", "weights", (TORCH, "training/codec/")),
    Allowed("eye_borders", "weights", (TORCH, "training/codec/")),
    Allowed("eye_width", "key of the config", (TORCH,)),
    Allowed("eye_blocks", "key of the config", (TORCH,)),
    Allowed("eye_codes", "key of the config", (TORCH,)),
    Allowed("memory", "weights", (TORCH + "machine_refinement.py",)),
    Allowed("spread", "weights", (TORCH,)),
    Allowed("spread_before", "weights", (RNN, "training/codec/export.py")),
    Allowed("spread_current", "weights", (RNN, "training/codec/export.py")),
    Allowed("reach", "weights", (TORCH + "refinement.py",)),
    Allowed("searched", "weights; key of the config", (TORCH + "quantiser.py", "training/codec/")),
    Allowed("searched_ratio", "weights", (TORCH + "quantiser.py", "training/codec/export.py")),
    Allowed("searched_from", "key of the config", ("training/codec/",)),
    Allowed("human_share", "key of the config", ("training/codec/",)),
    Allowed("``searched`` in the settings", "key of the config", ("training/codec/module.py",)),
    Allowed("(swift, paper_gru, ...)", "names of configs", ("training/codec/run.py",)),
    Allowed(" swift or paper.", "names of architectures in the config", ("training/codec/run.py",)),
    Allowed("recurrence.onnx   belief", "names of a graph's inputs", (RNN + "onnx_model.py",)),
    Allowed("synthesis.onnx    belief", "names of a graph's inputs", (RNN + "onnx_model.py",)),
    Allowed("eye.onnx          belief", "names of a file and of a graph's inputs", (RNN + "onnx_model.py",)),
    Allowed("eye_slopes.onnx   as eye.onnx", "names of files", (RNN + "onnx_model.py",)),
    Allowed("vector-Jacobian product: gradient", "names of a graph's inputs", (RNN + "onnx_model.py",)),
    Allowed("eye.weights       weights", "name of a file", (RNN + "onnx_model.py",)),
    Allowed("``belief`` is y_hat", "names of the graphs' inputs, explained", (RNN + "onnx_model.py",)),
    Allowed("weights in ``eye.onnx``", "name of a file", ("serve/web_model.py",)),
    Allowed("(code(y_hat / spread))", "formula with the weights' names", (TORCH + "refinement.py",)),
    # Names of other libraries.
    Allowed("eye", "NumPy's and torch's identity matrix", (TORCH + "transform.py", "training/codec/step.py")),
    Allowed("MemoryError", "Python"),
    Allowed("memory_format", "torch"),
    Allowed("take", "NumPy", (RNN + "entropy/", RNN + "optimise/xyb.py", "metrics/ssimulacra2/")),
    Allowed("log_target", "torch", (TORCH + "machine_distortion.py",)),
    Allowed("target", "Python's threads and processes", ("data/shards/workers.py", "evaluation/sweep/workers.py")),
    Allowed("draft", "Pillow", ("pillow.py",)),
    Allowed("_draft_scale", "Pillow", ("pillow.py",)),
    Allowed("DRAFT_QUALITY", "Pillow", ("pillow.py",)),
    Allowed("what ``draft`` chose", "Pillow", ("pillow.py",)),
    Allowed("has_transparency_data", "Pillow", ("pictures/modes.py",)),
    Allowed("A sideways thumbnail", "EXIF", ("pictures/metadata.py",)),
    # Words in the sense of the glossary, of the literature, or of everyday English.
    Allowed("target", "what a file must reach (glossary)", TARGETS),
    Allowed("targets", "what a file must reach (glossary)", TARGETS),
    Allowed("TARGETS", "what a file must reach (glossary)", TARGETS),
    Allowed("Target", "what a file must reach (glossary)", TARGETS),
    Allowed("RateTarget", "what a file must reach (glossary)", TARGETS),
    Allowed("QualityTarget", "what a file must reach (glossary)", TARGETS),
    Allowed("TargetSweep", "a sweep over targets (glossary)", TARGETS),
    Allowed("target_sweep", "a sweep over targets (glossary)", TARGETS),
    Allowed("TargetMissedWarning", "what a file must reach (glossary)", TARGETS),
    Allowed("compress_to_target", "what a file must reach (glossary)", TARGETS),
    Allowed("contrast", "a term of SSIM", SSIM),
    Allowed("the contrast term", "a term of SSIM", SSIM),
    Allowed("luminance and contrast", "terms of SSIM", SSIM),
    Allowed("contrast-structure map", "a term of SSIM", SSIM),
    Allowed("metrics that compare contrasts", "a term of SSIM", SSIM),
    Allowed("contrast", "augmentation of pictures", ("training/classifier/",)),
    Allowed("brightness, contrast and saturation", "augmentation of pictures", ("training/classifier/pictures.py",)),
    Allowed("share", "to share weights between files", ("observers/gradient/", "training/codec/graphs.py")),
    Allowed("takes_alpha", "whether a codec knows alpha"),
    Allowed("now", "the time", ("training/codec/run.py",)),
    Allowed("paper", "the publication of a classifier", ("observers/",)),
    Allowed("Paper", "a protocol (glossary)", ("evaluation/protocol.py",)),
    Allowed("paper_side", "a protocol (glossary)", ("evaluation/",)),
    Allowed("_PAPER_GRID", "a protocol (glossary)", ("evaluation/",)),
    Allowed("PAPER", "the colour behind a drawing", ("evaluation/",)),
)


def parts(name: str) -> list[str]:
    """``FilmIndex`` and ``film_index`` as ``film`` and ``index``."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


@functools.cache
def rules_for(name: str) -> list[Rule]:
    """The rules that a name breaks, wherever it stands."""
    return [rule for rule in RULES if rule.names and any(re.fullmatch(rule.names, part) for part in parts(name))]


def names(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module names or uses by name."""
    for node in nodes:
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield getattr(node, "lineno", getattr(getattr(node, "value", None), "lineno", 0)), name


def prose(text: str, nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and text of comments, docstrings and other strings with a space."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.splitlines()):
                yield node.lineno + number, line


def allowed(path: str, text: str, name: bool) -> Iterator[Allowed]:
    """The exceptions for a name, or for a line of prose."""
    for one in ALLOWED:
        if path.startswith(one.paths) and (text == one.text if name else " " in one.text and one.text in text):
            yield one


def findings(path: str, text: str) -> Iterator[tuple[str, list[Allowed]]]:
    """Each use of a word that the rules replace: the message, and the exceptions that allow it."""
    nodes = list(ast.walk(ast.parse(text)))
    for line, name in (*names(nodes), (0, Path(path).stem)):
        for rule in rules_for(name):
            if path.startswith(rule.folders):
                yield f"{path}:{line}: {name}: say {rule.use}", list(allowed(path, name, True))
    for line, said in prose(text, nodes):
        for rule in RULES if ANY_PROSE.search(said) else ():
            if rule.prose and path.startswith(rule.folders) and re.search(rule.prose, said):
                yield f"{path}:{line}: {said.strip()}: say {rule.use}", list(allowed(path, said, False))


@pytest.fixture(scope="module")
def every() -> list[tuple[str, list[Allowed]]]:
    paths = [path for path in sorted(SOURCES.rglob("*.py"))]
    return [
        finding
        for path in paths
        for finding in findings(path.relative_to(SOURCES).as_posix(), path.read_text(encoding="utf-8"))
    ]


def test_no_replaced_word_comes_back(every: list[tuple[str, list[Allowed]]]) -> None:
    assert [message for message, reasons in every if not reasons] == []


def test_each_exception_is_needed(every: list[tuple[str, list[Allowed]]]) -> None:
    used = {one for _, reasons in every for one in reasons}
    assert [one.text for one in ALLOWED if one not in used] == []


@pytest.mark.parametrize(
    "text",
    [
        "belief = 1",
        "class EyeJudge: pass",
        "def f(bpp_price): pass",
        "x.target = 1",
        "from a import b as trainee",
        "# what it costs the eye",
        '"""A search for codes."""',
        "raise ValueError('a thumbnail of it')",
        "f(share=1)",
    ],
)
def test_a_replaced_word_is_found(text: str) -> None:
    assert any(not reasons for _, reasons in findings("codecs/rnn/new.py", text))


@pytest.mark.parametrize("path", ["README.md", "docs", "runs", "benchmarks", "scripts"])
def test_documents_use_the_first_names_of_options(path: str) -> None:
    """Not the second ones, which only the glossary lists."""
    second = re.compile(r"--(compression|data-dir|target-dir|save)\b|\beval-image\b|\bbeholder\.evaluate\(")
    root = ROOT / path
    files = [root] if root.is_file() else [p for p in sorted(root.rglob("*")) if p.suffix in (".md", ".sh", ".py")]
    said = [
        f"{file.relative_to(ROOT)}:{number}: {line}"
        for file in files
        if file.name != "glossary.md" and "log" not in file.parts
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if second.search(line)
    ]
    assert said == []
