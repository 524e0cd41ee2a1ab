"""Manifests: edited files, and no need of torch; what belongs to one folder is tested with runs and streams."""

import json
import subprocess
import sys

import pytest

from mera._utils.manifest import NAME, Manifest


@pytest.fixture
def manifest(tmp_path):
    made = Manifest(tmp_path / "a", "run")
    made.write({"seed": 1, "settings": {"lr": 0.1, "steps": 3}, "data": (1, 2)})
    return made


def test_an_edited_file_is_refused(manifest):
    file = manifest.path / NAME
    text = file.read_text()
    changes = [text.replace("0.1", "0.2"), text.replace('"run"', '"stream"'), text[:50], "[1]", "[" * 100_000, ""]
    for changed in changes:
        file.write_text(changed)
        with pytest.raises(ValueError, match=NAME):
            manifest.facts()
    file.write_text(text)
    with pytest.raises(ValueError, match=r"Expected a stream of format 1; got a run of format 1"):
        Manifest(manifest.path, "stream").facts()
    with pytest.raises(FileNotFoundError, match=r"which has no manifest.json"):
        Manifest(manifest.path / "b", "run").facts()


def test_a_manifest_is_read_without_torch():
    code = "import sys, mera._utils.manifest; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_file_is_for_people(manifest):
    content = json.loads((manifest.path / NAME).read_text())
    assert list(content) == ["kind", "format", "identity", "facts", "sum"]
