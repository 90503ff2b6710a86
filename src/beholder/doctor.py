"""Report of what works on this machine: codecs and observers are tried, extras looked for, remedies are commands."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from beholder import __version__, codecs, observers
from beholder.errors import BeholderError
from beholder.extras import install_command

State = Literal["works", "missing", "broken"]

CORE = ("numpy", "pillow", "onnxruntime", "constriction", "threadpoolctl", "platformdirs", "typer", "rich")

_SIDE = 32  # pixels of the picture that codecs are tried with
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_REQUIREMENT = re.compile(r"^\s*([\w.-]+)\s*(?:\[([\w,\s-]+)\])?\s*(?:>=\s*([\d.]+))?")
_DEVELOPERS = "dev"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    kind: Literal["machine", "codec", "observer", "extra"]
    name: str
    state: State
    detail: str
    """One finding; of what does not work, why, and the command that mends it."""


def examine() -> Iterator[Finding]:
    """Look at everything, one by one; nothing is raised."""
    yield from _machine()
    for name in codecs.names():
        yield _try("codec", name, _codec)
    for name in observers.names():
        yield _try("observer", name, _observer)
    yield from _extras()


def _machine() -> Iterator[Finding]:
    yield Finding("machine", "beholder", "works", f"{__version__}, Python {platform.python_version()}")
    for package in CORE:
        found = _version(package)
        if found is None:
            yield Finding("machine", package, "missing", f"pip install {package}")
        else:
            yield Finding("machine", package, "works", found)


def _try(kind: Literal["codec", "observer"], name: str, check: Callable[[str], tuple[State, str]]) -> Finding:
    try:
        state, detail = check(name)
    except BeholderError as error:
        state, detail = "broken", str(error)
    except Exception as error:  # a library that is half installed raises whatever it likes
        state, detail = "broken", f"{type(error).__name__}: {error}: install it again."
    return Finding(kind, name, state, " ".join(detail.split()))


def _codec(name: str) -> tuple[State, str]:
    codec = codecs.get(name)
    reason = codec.unavailable()
    if reason is not None:
        return "missing", reason
    image = Image.linear_gradient("L").resize((_SIDE, _SIDE)).convert("RGB")
    if codec.decode(codec.encode(image)).size != image.size:
        return "broken", f"The codec {name} gives back a picture of another size: install it again."
    return "works", codec.title


def _observer(name: str) -> tuple[State, str]:
    observer = observers.get(name)
    reason = observer.unavailable()
    if reason is not None:
        return "missing", reason
    observer.classify(Image.new("RGB", (_SIDE, _SIDE), "gray"), 1)
    return "works", observer.info.title


def _extras() -> Iterator[Finding]:
    extras = packages_of_extras()
    if not extras:
        yield Finding(
            "extra", "all", "missing", "Beholder is not installed, its sources run: pip install . tells more."
        )
    for extra, packages in sorted(extras.items()):
        absent = [package for package, least in packages.items() if not _satisfied(package, least)]
        if absent:
            detail = f"{', '.join(absent)} not here or too old: {install_command(extra)}"
            yield Finding("extra", extra, "missing", detail)
        else:
            yield Finding("extra", extra, "works", ", ".join(packages))


def packages_of_extras() -> dict[str, dict[str, str]]:
    """Extra -> its packages and the least version of each ("" if any does), without the developers' extra.

    Empty where Beholder itself is not installed but runs from its sources.
    """
    try:
        requirements = importlib.metadata.requires("beholder") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for requirement in requirements:
        extra, parts = _EXTRA.search(requirement), _REQUIREMENT.match(requirement)
        if extra and parts and extra[1] != _DEVELOPERS and parts[1] != "beholder":
            found.setdefault(extra[1], {})[parts[1]] = parts[3] or ""
    return found


def _satisfied(package: str, least: str) -> bool:
    found = _version(package)
    return found is not None and _numbers(found) >= _numbers(least)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3]]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
