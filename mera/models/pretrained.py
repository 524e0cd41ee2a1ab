"""The trained flows that come with the package, each with a card of its data, training and score. Without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mera._utils.table import Table, Tabled

FOLDER = Path(__file__).parent / "weights"
"""The folder of weight files and cards."""


@dataclass(frozen=True)
class Card:
    """The card of a trained flow.

    Args:
        name: name for `mera.load_pretrained`.
        model: name of the model.
        parameters: number of parameters.
        data: arguments of `mera.data.load` for the training data.
        command: command that trained the flow.
        bits_per_dim: bits per dimension on the test images.
        test_images: number of test images.
        steps: number of training steps.
        minutes: training time in minutes.
        machine: hardware of the training.
        seed: seed of the weights, the order of the data, and the noise.
        licence: licence of the weights, and source of the data.
    """

    name: str
    model: str
    parameters: int
    data: dict[str, Any]
    command: str
    bits_per_dim: float
    test_images: int
    steps: int
    minutes: float
    machine: str
    seed: int
    licence: str

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return FOLDER / f"{self.name}.safetensors"


class Cards(Tabled, dict[str, Card]):
    """The cards of trained flows by name, which show themselves as a table."""

    @property
    def table(self) -> Table:
        """Model, data, training and score of each flow."""
        rows = [
            (c.name, c.model, c.data["name"], f"{c.minutes:g}", f"{c.bits_per_dim:.3f}", c.licence)
            for c in self.values()
        ]
        return Table(["name", "model", "data", "minutes", "bits/dim", "licence"], rows)


@cache
def pretrained() -> Cards:
    """The trained flows that come with the package, by name; `mera.load_pretrained(name)` loads one.

    >>> from mera.models import pretrained
    >>> pretrained()["msds1"].data["name"]
    'msds1'
    """
    cards = (Card(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json")))
    return Cards({card.name: card for card in cards})
