"""Every program of the folder of examples runs from beginning to end, at small sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {
    "defects.py": "--minutes 0.05 --repetitions 1",
    "faint_source.py": "--L 512 --minutes 0.05 --places 2",
    "growth.py": "--L 16 --minutes 0.05 --samples 300",
    "inpainting.py": "--minutes 0.05 --images 1 --steps 2",
    "ising.py": "--L 8 --minutes 0.05 --samples 500",
    "next_field.py": "--L 8 --pairs 500 --minutes 0.05",
    "phi4.py": "--L 8 --steps 20 --samples 500",
    "pinwheel.py": "--seeds 1 --steps 20",
    "source_line.py": "--minutes 0.05 --seconds 5 --fields 200",
    "sweep.py": "--seeds 2 --steps 10",
    "temperatures.py": "--L 8 --minutes 0.05 --points 2 --samples 300",
    "gallery/anomalies.py": "",
    "gallery/digits.py": "2 a.png",
    "gallery/double_well.py": "2 a.png",
    "gallery/faces.py": "2 a.png",
    "gallery/field3d.py": "2 a.png",
    "gallery/texture.py": "2 a.png",
    "gallery/waves.py": "2 a.png",
}


def test_each_program_is_in_the_table():
    assert sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")) == sorted(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_program_runs(tmp_path, name):
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), *SMALL[name].split()]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
