"""Callbacks that stop or disturb a run at a step."""

import os
import signal

from mera.train import Callback


class At(Callback):
    """Do something right after a step, before anything is saved."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step(self, loop, metrics):
        if loop.step == self.step:
            self.action(loop)


class StopAt(At):
    """Ask the run to stop after a step; of several processes, the first does not ask."""

    def __init__(self, step):
        super().__init__(step, stop)


def stop(loop):
    if loop.rank > 0 or loop.world_size == 1:
        loop.stop()


def interrupt(loop):
    os.kill(os.getpid(), signal.SIGINT)
