"""The progress of long work, as a terminal, a notebook and a log show it."""

import io

import pytest
from rich.console import Console

from mera.display import progress
from mera.display.progress import ProgressBar, listening


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def console(**options):
    return Console(file=io.StringIO(), width=200, **options)


def test_the_time_left_does_not_count_a_slow_first_step(clock):
    log = console()
    with ProgressBar("sample", log) as bar:
        clock[0] += 30  # the first iteration prepares what the others use
        bar.update(1, 0.01)
        clock[0] += 10
        bar.update(11, 0.11, "accepted 0.80")
        assert log.file.getvalue().splitlines()[-1] == "sample  11%  step 11  accepted 0.80  1.0 steps/s  1:29 left"
        clock[0] += 89
        bar.update(100, 1.0)
    assert log.file.getvalue().splitlines() == [
        "sample   1%  step 1",
        "sample  11%  step 11  accepted 0.80  1.0 steps/s  1:29 left",
        "sample 100%  step 100  in 2:09",
    ]


def test_a_resumed_run_counts_from_where_it_goes_on(clock):
    log = console()
    bar = ProgressBar("train", log, fraction=0.5)
    bar.update(501, 0.501)
    clock[0] += 20
    bar.update(511, 0.511)
    assert log.file.getvalue() == "train  51%  step 511  2.0 s/step  16:18 left\n"


def test_a_terminal_has_a_bar(clock):
    terminal = console(force_terminal=True)
    with ProgressBar("train", terminal) as bar:
        bar.update(1, 0.5, "2.5 bits/dim")
    assert "2.5 bits/dim" in terminal.file.getvalue()
    assert "50%" in terminal.file.getvalue()


def test_nothing_is_shown_on_a_silent_console(clock):
    silent = console(quiet=True)
    with ProgressBar("train", silent) as bar:
        bar.update(1, 1.0)
    assert silent.file.getvalue() == ""


def test_a_listener_hears_of_all_bars_in_its_context_and_may_end_the_work(clock):
    heard = []

    def listener(fraction, text):
        heard.append((fraction, text.split("  ")[0]))
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
