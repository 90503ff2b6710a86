"""Hints name a command that installs from where this Beholder came from."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beholder import extras
from beholder.extras import install_command


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Pretend that this Beholder lies among the packages, with this ``direct_url.json``."""
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "lib" / "site-packages" / "beholder" / "extras.py"))

    def pretend(direct_url: dict[str, Any] | None) -> None:
        text = None if direct_url is None else json.dumps(direct_url)
        monkeypatch.setattr(
            importlib.metadata, "distribution", lambda _name: SimpleNamespace(read_text=lambda _file: text)
        )

    return pretend


def test_from_a_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    (clone / "src" / "beholder").mkdir(parents=True)
    (clone / "pyproject.toml").touch()
    monkeypatch.setattr(extras, "__file__", str(clone / "src" / "beholder" / "extras.py"))
    assert install_command("train") == f'pip install -e "{clone}[train]"'
    monkeypatch.chdir(clone)
    assert install_command("train") == 'pip install -e ".[train]"'


def test_from_an_index(installed: Any) -> None:
    installed(None)
    assert install_command("evaluate") == 'pip install "beholder[evaluate]"'
    assert install_command("jxl", upgrade=True) == 'pip install --upgrade "beholder[jxl]"'


def test_from_a_folder_or_a_wheel(installed: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "beholder 0.1.whl"
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert install_command("train") == 'pip install "beholder[train]"'  # it has gone
    wheel.touch()
    assert install_command("train") == f'pip install "{wheel}[train]"'


def test_from_an_address(installed: Any) -> None:
    installed({"url": "https://example.org/beholder.git", "vcs_info": {"vcs": "git", "commit_id": "0"}})
    assert install_command("train") == 'pip install "beholder[train] @ git+https://example.org/beholder.git"'
    installed({"url": "https://example.org/beholder.whl", "archive_info": {}})
    assert install_command("train") == 'pip install "beholder[train] @ https://example.org/beholder.whl"'
