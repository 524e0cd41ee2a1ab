"""Files are replaced whole, and nothing but files is replaced; readers fail in one line."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

import mera
from mera._utils.errors import InputError
from mera._utils.files import reading, write_atomically
from tests.helpers.command import mera_command


@pytest.mark.skipif(os.name != "posix", reason="a pipe has a name on POSIX systems alone")
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,))
    for write in (lambda path: write_atomically(path, b"a"), lambda path: mera.save(flow, path)):
        with pytest.raises(FileExistsError, match=r"Expected a regular file .*pipe; got a device or a pipe"):
            write(tmp_path / "pipe")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_reader_fails_in_one_line():
    expected = r"^a\.bin: Expected numbers; got a file that cannot be read: ValueError: two lines$"
    with pytest.raises(InputError, match=expected), reading("a.bin", "numbers"):
        raise ValueError("two\nlines")
    with pytest.raises(FileNotFoundError), reading("a.bin", "numbers"):
        raise FileNotFoundError("a.bin")


def test_too_little_memory_is_one_line(tmp_path):
    mera.save(mera.build("rgflow", L=4, m=2, share_levels=True, hidden=(4,)), tmp_path / "flow.mera")
    done = mera_command(tmp_path, *["sample", "flow.mera", "--L", "4000000,4000000", "--n", "1", "--out", "a.npy"])
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Expected enough memory; got" in done.stderr


def test_threads_write_one_file(tmp_path):
    """Each of them whole: a description of an array is written by whichever tile comes first, or by two at a time."""
    path, contents = tmp_path / "a", [bytes([i]) * 1000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [write_atomically(path, content) for _ in range(20)], contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
