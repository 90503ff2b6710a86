"""One browser, and one decoder for browsers under Node, for all modules that need one."""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.web.browser import open_browser
from helpers.web.node_decoder import NodeDecoder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeDecoder]:
    with NodeDecoder(tmp_path_factory.mktemp("decoder")) as opened:
        yield opened
