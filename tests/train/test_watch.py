"""The picture that follows a training run."""

from __future__ import annotations

import pytest
import torch

import mera
from mera.display.progress import Cell
from mera.train import Watch


def fitted(watch: Watch) -> None:
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=8, m=4, hidden=(4,))
    data = mera.data.load("msds1", L=8, train_size=64, test_size=20)
    mera.train.fit(flow, data, steps=4, batch_size=8, eval_every=2, eval_images=8, callbacks=[watch])


def test_it_writes_a_picture_and_keeps_the_metrics(tmp_path):
    watch = Watch(tmp_path / "watch.png", samples=4)
    fitted(watch)
    assert [line["step"] for line in watch.metrics] == [2, 4]
    assert (tmp_path / "watch.png").read_bytes().startswith(b"\x89PNG")


def test_in_a_notebook_it_shows_the_picture_in_place(monkeypatch):
    shown = []
    monkeypatch.setattr("mera.train.watch.Console", lambda: type("Notebook", (), {"is_jupyter": True})())
    monkeypatch.setattr(Cell, "show", lambda self, content: shown.append(content))
    fitted(Watch())
    assert [content["text/plain"] for content in shown] == ["step 2", "step 4"]
    assert all(content["image/png"].startswith(b"\x89PNG") for content in shown)


def test_elsewhere_it_needs_a_path():
    with pytest.raises(ValueError, match="a path of the picture outside of a notebook; got none"):
        Watch()
