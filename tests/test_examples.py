"""Every program of the folder of examples runs from beginning to end, at small sizes; the gallery shows its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = {
    "defects.py": "--minutes 0.05 --repetitions 1",
    "faint_source.py": "--L 512 --minutes 0.05 --places 2",
    "growth.py": "--L 16 --minutes 0.05 --samples 300",
    "inpainting.py": "--minutes 0.05 --images 1 --steps 2",
    "ising.py": "--L 8 --minutes 0.05 --samples 500",
    "latent_information.py": "msds1 --images 40 --pairs 50",
    "next_field.py": "--L 8 --pairs 500 --minutes 0.05",
    "phi4.py": "--L 8 --steps 20 --samples 500",
    "paper_figures.py": "msds1 --images 20 --only 3a,3b,3c,4,5,8,14a --out .",
    "paper_tables.py": "msds1 --images 60 --latents 2",
    "pinwheel.py": "--seeds 1 --steps 20",
    "source_line.py": "--minutes 0.05 --seconds 5 --fields 200",
    "sweep.py": "--seeds 2 --steps 10",
    "xy.py": "--L 8 --minutes 0.05 --samples 300",
    "temperatures.py": "--L 8 --minutes 0.05 --points 2 --samples 300",
    "gallery/anomalies.py": "a.png",
    **{f"gallery/{name}.py": "2 a.png" for name in ("digits", "double_well", "faces", "field3d", "texture", "waves")},
}


def program(folder, name, *arguments):
    """What a program prints that runs in a folder."""
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_each_program_is_in_the_table_and_the_gallery_on_its_page():
    assert sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")) == sorted(SMALL)
    page = (ROOT / "docs" / "gallery.md").read_text()
    for path in (EXAMPLES / "gallery").glob("*.py"):
        assert f"images/gallery/{path.stem}.png" in page
        assert f"../examples/gallery/{path.name}" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_program_runs(tmp_path, name):
    program(tmp_path, name, *SMALL[name].split())
    if "a.png" in SMALL[name]:
        assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_sweep_by_submitit_goes_on_where_it_ended(tmp_path):
    pytest.importorskip("submitit")
    words = ["sweep.py", "--seeds", 1, "--steps", 2, "--out", tmp_path]
    program(tmp_path, *words, "--cluster", "local")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/result.json")}
    assert len(written) == 6
    again = program(tmp_path, *words)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert len(again.splitlines()) == 2 + 6
