"""One browser for all modules that need one."""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.web.browser import open_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened
