"""A silent progress bar."""

import pytest
from rich.console import Console

from mera._utils.progress import ProgressBar


@pytest.fixture
def progress():
    with ProgressBar("progress", Console(quiet=True)) as progress_bar:
        yield progress_bar
