"""A summary that several modules read."""

import pytest
from helpers.fake_results import sweep_rows, table

from beholder.evaluation.summary.summarise import Summary, summarise


@pytest.fixture(scope="package")
def found() -> Summary:
    return summarise(table(sweep_rows(30)))
