"""The programs of the gallery run, with a second of training, and draw their pictures; the page shows each of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(path.stem for path in (ROOT / "examples" / "gallery").glob("*.py"))


def test_the_page_shows_every_program():
    page = (ROOT / "docs" / "gallery.md").read_text()
    assert len(PROGRAMS) == 7
    for name in PROGRAMS:
        assert f"images/gallery/{name}.png" in page
        assert f"../examples/gallery/{name}.py" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_draws_its_picture(name, tmp_path):
    arguments = ["picture.png"] if name == "anomalies" else ["1", "picture.png"]
    program = ROOT / "examples" / "gallery" / f"{name}.py"
    subprocess.run([sys.executable, program, *arguments], cwd=tmp_path, check=True)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_sweep_by_submitit_goes_on_where_it_ended(tmp_path):
    pytest.importorskip("submitit")
    command = [sys.executable, ROOT / "examples" / "sweep.py", "--seeds", "1", "--steps", "2", "--out", tmp_path]
    subprocess.run([*command, "--cluster", "local"], check=True)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}
    assert len(written) == 6
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert len(again.stdout.splitlines()) == 2 + 6
