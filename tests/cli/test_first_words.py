"""What commands for pictures say before they compute, and how Ctrl-C ends them."""

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image
from typer import Exit

import mera.cli
from mera.cli import stopping
from mera.cli.first_words import first_words
from mera.cli.pieces import pieces_of


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((1000, 2000, 3), np.uint8)).save("a.png", exif=exif)
    mask = np.zeros((1000, 2000), np.uint8)
    mask[:10, :10] = 255
    Image.fromarray(mask).save("m.png")
    mask[:200, :3] = 255
    Image.fromarray(mask).save("scratch.png")


@pytest.mark.parametrize(("words", "said"), [
    ("map a.png", "map: a.png, 960 x 480 pixels: about 10 s on an idle core\n"),
    ("map runs/a a.png --scale 100", "map: a.png, 100 x 50 pixels\n"),
    ("mix a.png m.png --json", "mix: a.png, m.png, 960 x 480 and 480 x 960 pixels: about 35 s on an idle core\n"),
    ("refine photographs a.png --times 4", "refine: a.png, 480 x 240 pixels: about 2 minutes on an idle core\n"),
    ("inpaint a.png --region 4:16,4:16", "inpaint: a.png, 2000 x 1000 pixels: about 15 s on an idle core\n"),
    ("inpaint a.png --mask scratch.png", "inpaint: a.png, 2000 x 1000 pixels: about 50 s on an idle core\n"),
    ("inpaint a.png --region 4:8,4:8 --samples 0", "inpaint: a.png, 2000 x 1000 pixels\n"),
    ("inpaint a.png --region 4:8,4:8 --leapfrog 40", "inpaint: a.png, 2000 x 1000 pixels\n"),
    ("inpaint a.png --region 3000:4000,4:8", "inpaint: a.png, 2000 x 1000 pixels\n"),
    ("explore photographs --image a.png", ""),
    ("inpaint runs/a --test 3 --region 4:8,4:8", ""),
    ("train rgflow --data none.png", ""),
])  # fmt: skip
def test_the_first_line_has_the_time(capsys, words, said):
    command, *rest = words.split()
    first_words(command, rest)
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("words", "message"), [
    ("map a.png b.png", "a picture in b.png; got no such file"),
    ("inpaint a.png --mask b.png", "a mask in b.png; got no such file"),
    ("explore photographs --image b.png", "a picture in b.png; got no such file"),
])  # fmt: skip
def test_a_missing_file_is_refused_before_torch_is_imported(words, message):
    program = f"import sys; sys.argv = ['mera', *{words.split()!r}]; import atexit; from mera.cli import main; "
    program += "atexit.register(lambda: print('torch' in sys.modules)); main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: Expected {message}\n"
    assert done.stdout == "False\n"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_a_command_with_a_sentence():
    words = [sys.executable, "-m", "mera", "map", "m.png", "a.png"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "map: m.png, a.png" in process.stderr.readline()
        while not process.stdout.readline().startswith("stream"):
            pass
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == stopping.STATUS
        assert time.monotonic() - start < 3
        assert process.stderr.read().endswith("stopped: nothing is written yet\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("map m a.png", True),
        ("--import sample inpaint m", True),
        ("train rgflow --out map", False),
        ("--version", False),
    ],
)
def test_only_commands_on_pictures_end_at_once(monkeypatch, words, expected):
    """A training run has to finish its step and to save, also into a folder that is named as a command."""
    installed = []
    monkeypatch.setattr(sys, "argv", ["mera", *words.split()])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which `main` changes
    monkeypatch.setattr(mera.cli, "import_extensions", lambda arguments: arguments)
    monkeypatch.setattr("mera.cli.app.app", lambda: None)
    monkeypatch.setattr(stopping, "install", lambda: installed.append(True))
    mera.cli.main()
    assert bool(installed) == expected


def test_the_first_line_does_not_wait_for_a_rectangle_beyond_the_picture(capsys):
    """A digit too many is refused later, and must not take memory before."""
    tracemalloc.start()
    first_words("inpaint", ["a.png", "--region", "0:100000,0:100000"])
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    assert capsys.readouterr().err.startswith("inpaint: a.png, 2000 x 1000 pixels")


def test_scratches_and_specks_have_pieces_and_compact_holes_have_one():
    mask = np.zeros((64, 60), bool)
    mask[4:60, 20:22] = True
    pieces = pieces_of(mask)
    assert [(rows.min(), rows.max()) for rows, _ in map(np.nonzero, pieces)] == [(4, 19), (20, 35), (36, 51), (52, 59)]
    specks = np.zeros((64, 60), bool)
    specks[3:5, 3:5] = specks[4:6, 50:52] = specks[60:62, 30:32] = True
    assert [int(piece.sum()) for piece in pieces_of(specks)] == [4, 4, 4]
    for hidden in (mask, specks):
        assert np.array_equal(np.sum(pieces_of(hidden), 0), hidden)
    mask[4:60, 20:50] = True
    assert len(pieces_of(mask)) == 1


def test_what_is_done_is_said(capsys, monkeypatch):
    monkeypatch.setattr(stopping, "_said", [])
    monkeypatch.setattr(stopping, "_asked", threading.Event())  # which ends the process if it is set

    def run() -> None:
        stopping.done.append("a_map.png")
        raise KeyboardInterrupt

    with pytest.raises(Exit):
        stopping.stoppable(run)()
    assert capsys.readouterr().err == "stopped; done: a_map.png\n"
