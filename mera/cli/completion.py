"""Words for the completion of arguments by Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from glob import escape, glob
from pathlib import Path


def among(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Make a function for `typer.Option(autocompletion=...)` that completes one of several names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def sources(incomplete: str) -> list[str]:
    """Folders, files and the flows of the package that begin with a text; a folder that is no run ends in a slash."""
    found = sorted(glob(f"{escape(incomplete)}*"))
    paths = [f"{p}/" if Path(p).is_dir() and not Path(p, "config.json").exists() else p for p in found]
    return [*paths, *(name for name in pretrained_names() if name.startswith(incomplete))]


def pretrained_names() -> list[str]:
    """The names of the trained flows of the package, from its files: `mera.models` would import torch."""
    folder = Path(__file__).parents[1] / "models" / "weights"
    return sorted(card.stem for card in folder.glob("*.json"))
