"""The progress of long work, as a terminal, a notebook and a log show it."""

import io
import re
import time

import pytest
from rich.console import Console

from mera._utils import progress
from mera._utils.progress import ProgressBar, listening


def console(**options):
    return Console(file=io.StringIO(), width=200, **options)


def test_a_log_has_lines_whose_rate_does_not_count_a_slow_first_step(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    log, resumed = console(), console()
    with ProgressBar("sample", log) as bar:
        time.sleep(0.3)  # the first iteration prepares what the others use
        bar.update(1, 0.01)
        time.sleep(0.1)
        bar.update(11, 0.11, "accepted 0.80")
        bar.update(100, 1.0)
    first, second, last = log.file.getvalue().splitlines()
    assert first.startswith("sample   1%  step 1")
    assert second.startswith("sample  11%  step 11, accepted 0.80 [")
    assert 40 < float(re.search(r"\[ *([\d.]+)step/s", second)[1]) < 101
    assert last.startswith("sample 100%  step 100 [")
    with ProgressBar("train", resumed) as bar:
        bar.update(501, 0.501)
        time.sleep(0.2)
        bar.update(511, 0.511)
    assert 20 < float(re.search(r"step 511 \[ *([\d.]+)step/s", resumed.file.getvalue())[1]) < 51


def test_a_terminal_has_a_bar_and_a_silent_console_nothing():
    terminal, silent = console(force_terminal=True), [console(quiet=True, force_terminal=it) for it in (False, True)]
    for shown in (terminal, *silent):
        with ProgressBar("train", shown) as bar:
            bar.update(1, 0.5, "2.5 bits/dim")
    assert "2.5 bits/dim" in terminal.file.getvalue()
    assert "50%|" in terminal.file.getvalue()
    assert [shown.file.getvalue() for shown in silent] == ["", ""]


def test_a_listener_hears_of_all_bars_in_its_context_and_may_end_the_work():
    heard = []

    def listener(fraction, text):
        heard.append((fraction, text.split(" [")[0]))
        if fraction == 0.5:
            raise InterruptedError

    def work():
        with ProgressBar("fill", console(quiet=True)) as bar:
            for done in (1, 2, 3):
                bar.update(done, done / 4)

    with pytest.raises(InterruptedError), listening(listener):
        work()
    work()
    assert heard == [(0.25, "step 1"), (0.5, "step 2")]


def test_a_bar_is_shown_at_once_and_has_a_rate_at_the_end():
    log = console()
    with ProgressBar("map", log, "tile", at_once=True) as bar:
        assert log.file.getvalue() == "map   0%  tile 0\n"
        time.sleep(0.05)
        bar.update(4, 1.0)
    assert re.search(r"map 100%  tile 4 \[ *[\d.]+tile/s, 00:00 left\]", log.file.getvalue())
