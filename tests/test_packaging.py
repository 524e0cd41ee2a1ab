"""The declared dependencies are the tested ones, and what is published with a release agrees with them."""

import re
import shutil
import subprocess
import tomllib
import zlib
from datetime import datetime
from itertools import chain
from pathlib import Path

import pytest
from packaging.version import Version

import mera

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = list(chain(*PROJECT["optional-dependencies"].values()))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_lowest_versions_of_all_dependencies_are_printed():
    printed = subprocess.run([ROOT / ".ci" / "lowest", "--print"], capture_output=True, text=True, check=True).stdout
    declared = [text.split(">=") for text in PROJECT["dependencies"]]
    assert printed.split() == [f"{name}=={low if '.' in low else low + '.0'}.*" for name, low in declared]


def test_every_extra_has_lower_bounds():
    assert [text for text in EXTRAS if ">=" not in text and not text.startswith("mera-flow[")] == []


def test_every_dependency_stands_in_the_table_of_licences():
    names = {re.match(r"[\w-]+", text).group() for text in [*PROJECT["dependencies"], *EXTRAS]} - {"mera-flow"}
    table = (ROOT / "docs" / "licences.md").read_text()
    assert not [name for name in names if not re.search(rf"\b{name}\b", table)]


def test_the_citation_is_of_the_newest_version():
    """Of the newest release, or of the first one to come; the version of an installed release is the same."""
    cited = re.search("^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1]
    sections = re.findall(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert cited == next((number for number, date in sections if date != "unreleased"), sections[-1][0])
    installed = Version(mera.__version__)
    assert installed.is_devrelease or cited == installed.public


def test_the_weights_of_trained_flows_stay_small():
    """They are most of the wheel, which zip compresses."""
    files = [card.weights.read_bytes() for card in mera.models.pretrained().values()]
    assert sum(len(zlib.compress(file)) for file in files) < 9e6


def test_the_page_on_the_index_repeats_the_readme_and_has_no_link_into_the_repository():
    page = (ROOT / PROJECT["readme"]).read_text()
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"\]\((?!https://)", page) == []
    assert [text for text in page.partition("## Installation")[0].split("\n\n") if text not in readme] == []


def test_the_paper_keeps_to_the_rules_of_joss():
    """https://joss.readthedocs.io/en/latest/paper.html, which allows 1,750 words; we want at most 1,000."""
    _, front, body = (ROOT / "paper" / "paper.md").read_text().split("---\n", 2)
    assert re.findall(r"^(\w+):", front, re.M) == ["title", "tags", "authors", "affiliations", "date", "bibliography"]
    authors, affiliations = front.partition("affiliations:")[::2]
    assert set(re.findall(r"affiliation: (\d)", authors)) == set(re.findall(r"index: (\d)", affiliations)) != set()
    assert datetime.strptime(re.search("^date: (.+)", front, re.M)[1], "%d %B %Y")
    assert re.findall("^# (.+)", body, re.M) == [
        "Summary", "Statement of need", "State of the field", "Software design", "Research impact statement",
        "AI usage disclosure", "Acknowledgements", "References",
    ]  # fmt: skip
    entries = re.findall(r"^@\w+\{(\w+),", (ROOT / "paper" / "paper.bib").read_text(), re.M)
    assert sorted(entries) == sorted(set(re.findall(r"@(\w+)", body)))
    assert 750 <= len(body.split()) <= 1000
