"""The code of README and pages runs, links lead somewhere, and quoted errors are those that are raised."""

import csv
import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest

import mera
from mera.graph import toml as layout_file
from tests.helpers.laws import Dense

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README, **{page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}}
BLOCKS = {name: re.findall(r"```python\n(.*?)```", page, re.S) for name, page in PAGES.items()}


SLOW = {"README.md", "index.md", "physics.md", "analysis.md", "cones.md", "training.md"}
"""Pages whose code takes ten seconds or more; `.ci/run` runs it."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in PAGES
        if name != "coming_from.md"
    ],
)
@pytest.mark.filterwarnings("ignore:The (errors mean nothing|averages are wrong)")  # which pages show
def test_python_blocks_run_one_after_the_other(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in BLOCKS[name]:
        exec(compile(block, name, "exec"), names)


@pytest.mark.parametrize("library", ["mera", "zuko", "nflows", "normflows", "FrEIA", "flowjax"])
@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_the_same_program_in_each_library(library):
    pytest.importorskip(library)
    data, *programs = BLOCKS["coming_from.md"]
    (program,) = [block for block in programs if re.search(rf"^(import|from) {library}\b", block, re.M)]
    names = {"__name__": "page"}
    for block in (data, program):
        exec(compile(block, library, "exec"), names)
    assert tuple(names["log_prob"].shape) == (256,)
    assert tuple(names["samples"].shape) in ((4, 64), (4, 1, 8, 8))


def test_layouts_in_toml_are_layouts():
    blocks = re.findall(r"```toml\n(\[lattice\].*?)```", PAGES["toolkit.md"], re.S)
    assert blocks
    for text in [*blocks, "\n".join(line[4:] for line in layout_file.__doc__.splitlines() if line[:4] in ("", "    "))]:
        mera.Flow(layout_file.loads(text))


def test_there_are_blocks_and_the_links_exist_and_the_readme_is_short():
    """The README: one sentence, one picture, installation, some lines of code, two commands, and a table of pages."""
    assert len(README.splitlines()) <= 120
    assert {name: len(blocks) for name, blocks in BLOCKS.items() if blocks} == {
        "README.md": 1, "architecture.md": 1, "analysis.md": 5, "data.md": 3, "cones.md": 4, "index.md": 3,
        "coming_from.md": 7, "physics.md": 11, "large_images.md": 5, "toolkit.md": 7, "training.md": 5,
    }  # fmt: skip
    for page, text in PAGES.items():
        for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
            path, _, heading = link.partition("#")
            target = ROOT / ("" if page == "README.md" else "docs") / (path or page)
            assert target.exists(), link
            assert not heading or f"# {heading.replace('-', ' ')}" in target.read_text().lower(), link


@pytest.mark.slow
def test_the_front_page_shows_what_its_lines_print():
    """A comment of its own is the value of the expression in the line above."""
    names, shown = {}, 0
    for block in BLOCKS["index.md"]:
        assert max(map(len, block.splitlines())) <= 85
        exec(block, names)
        for line, comment in pairwise(block.splitlines()):
            if comment.startswith("# "):
                assert repr(eval(line, names)) == comment[2:]
                shown += 1
    assert shown == 4


def test_the_quoted_error():
    layout = mera.Layout(shape=(16, 24), channels=2, boundary="open")
    with pytest.raises(mera.LayoutError) as error:
        layout.local(layout.input, Dense, kernel=(4, 5), name="decimator")
    assert " ".join(str(error.value).split()) in " ".join(PAGES["toolkit.md"].split())


def test_tutorials_are_notebooks_for_jupytext_too():
    """It takes the kernel from the head of the page, and refuses one without a name to show."""
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index"}
    assert len(pages) == 8
    for name, page in pages.items():
        assert f"{{nb-download}}`This page as a notebook <{name}.ipynb>`" in page
        assert "kernelspec:\n  display_name: Python 3\n  language: python\n  name: python3\n" in page.split("---\n")[1]


@pytest.mark.parametrize(
    ("module", "name", "file", "first"),
    [
        ("mera", "Flow", "mera/flow/flow.py", "class Flow("),
        ("mera.flow", "Density.sample", "mera/flow/density.py", "    @torch.no_grad()"),
        ("mera", "FlowDistribution.support", "mera/flow/distribution.py", "    @property"),
        ("mera", "build", "mera/models/by_name.py", "def build("),
    ],
)
def test_links_of_the_reference_lead_to_lines_of_source(module, name, file, first):
    source_lines = runpy.run_path(str(ROOT / "docs" / "source_links.py"))["source_lines"]
    path, _, line = source_lines(module, name).partition("#L")
    assert path == file
    assert (ROOT / path).read_text().splitlines()[int(line.partition("-")[0]) - 1].startswith(first)
    assert source_lines("mera", "Flow.reference_of_nothing") is None
    assert source_lines("torch", "nn.Linear") is None


def test_pictures_are_in_the_list_of_figures_with_commands_that_exist():
    with (ROOT / "benchmarks" / "figures.csv").open() as file:
        rows = list(csv.DictReader(file))
    listed = " ".join(row["figure"] for row in rows)
    shown = {name for text in PAGES.values() for name in re.findall(r"\]\((?:docs/)?images/([^)]+\.png)\)", text)}
    assert {name for name in shown if name not in listed and not name.startswith("models/")} == set()
    for program in {word for row in rows for word in row["command"].split() if word.endswith(".py")}:
        assert (ROOT / program).is_file(), program
