"""Manifests: facts that are compared by name, parts that belong to one folder, files that were edited."""

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


def test_facts_are_compared_by_name(manifest):
    assert manifest.facts() == {"seed": 1, "settings": {"lr": 0.1, "steps": 3}, "data": [1, 2]}
    manifest.compare({"seed": 1, "data": [1, 2]})
    with pytest.raises(ValueError, match=r"Expected the settings of the run in .*/a, lr=0.1; got lr=0.2"):
        manifest.compare({"settings": {"lr": 0.2, "steps": 3}})
    manifest.compare({"settings": {"lr": 0.2, "steps": 3}}, but=["settings"])
    with pytest.raises(ValueError, match=r"Expected the loss of the run in .*, None; got 'mine'"):
        manifest.compare({"loss": "mine"})


def test_the_identity_stays_and_depends_on_the_facts(manifest, tmp_path):
    seal = manifest.seal("part")
    manifest.write({"seed": 1, "settings": {"lr": 0.1, "steps": 4}})
    assert manifest.seal("part") == seal != manifest.seal("other")
    manifest.check("part", seal)
    others = [Manifest(tmp_path / "b", "run"), Manifest(tmp_path / "c", "stream")]
    for other in others:
        other.write({"seed": 2})
        with pytest.raises(ValueError, match=r"part: Expected the file of this .*; got that of another"):
            other.check("part", seal)


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


def test_parts_in_json(manifest, tmp_path):
    manifest.write_json("score.json", {"loss": 1.5})
    manifest.append("lines.jsonl", {"step": 1}, {"step": 2})
    manifest.append("lines.jsonl", {"step": 3})
    assert manifest.read_json("score.json") == {"loss": 1.5}
    assert [line["step"] for line in manifest.entries("lines.jsonl")] == [1, 2, 3]
    lines = manifest.path / "lines.jsonl"
    with lines.open("ab") as file:
        file.write(b'{"step": 4, "su')  # a killed process
    assert [line["step"] for line in manifest.entries("lines.jsonl")] == [1, 2, 3]
    manifest.rewrite("lines.jsonl", manifest.entries("lines.jsonl")[:1])
    assert manifest.entries("lines.jsonl") == [{"step": 1}]
    lines.write_bytes(lines.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ValueError, match=r"lines.jsonl: Expected a file as mera wrote it for this run"):
        manifest.entries("lines.jsonl")
    (manifest.path / "other.json").write_bytes((manifest.path / "score.json").read_bytes())
    with pytest.raises(ValueError, match=r"other.json: Expected a file as mera wrote it for this run"):
        manifest.read_json("other.json")
    assert manifest.entries("none.jsonl") == []


def test_parts_without_a_manifest_are_not_adopted(manifest):
    (manifest.path / "000001.npz").touch()
    manifest.write({"seed": 1}, ["*.npz"])
    (manifest.path / NAME).unlink()
    with pytest.raises(FileExistsError, match=r"Expected an empty folder for a run; got .*000001.npz without a"):
        manifest.write({"seed": 1}, ["*.npz"])


def test_a_manifest_is_read_without_torch():
    code = "import sys, mera._utils.manifest; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_file_is_for_people(manifest):
    content = json.loads((manifest.path / NAME).read_text())
    assert list(content) == ["kind", "format", "identity", "facts", "sum"]
