"""What the README shows runs, and the error that it quotes is the one that is raised."""

import re
from pathlib import Path

import pytest

import mera
from tests.laws import Dense

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README, "architecture.md": (ROOT / "docs" / "architecture.md").read_text()}
BLOCKS = [block for page in PAGES.values() for block in re.findall(r"```python\n(.*?)```", page, re.S)]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_there_are_blocks_and_the_links_exist():
    assert len(BLOCKS) == 3
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / link).exists(), link


def test_the_quoted_error():
    layout = mera.Layout(shape=(16, 24), channels=2, boundary="open")
    with pytest.raises(mera.LayoutError) as error:
        layout.local(layout.input, Dense, kernel=(4, 5), name="decimator")
    assert " ".join(str(error.value).split()) in " ".join(README.split())
