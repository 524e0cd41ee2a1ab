"""The first line of a command for pictures, and its first refusals: before torch is imported, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mera._utils.errors import InputError
from mera.cli.terminal import pretrained_names

SECONDS = {"map": 15e-6, "find": 30e-6, "mix": 70e-6, "refine": 260e-6}
"""The seconds of the flow "photographs" for a pixel that is read, on an idle core; of `refine` by 2 x 2."""
LONGEST = {"map": "960", "find": "960", "mix": "960", "refine": "480"}
"""The pixels of the longer edge to which a command reduces pictures."""
FILL_SECONDS = 6.0, 0.03
"""The seconds of a filling at the defaults, and those for each pixel of the hole."""
PIECE_SECONDS = 3.5
"""The seconds of each piece of a scratch."""
START = 5
"""The seconds until the flow is loaded."""
UNTOLD = {"--samples", "--particles", "--steps", "--iterations", "--warmup", "--leapfrog", "--scale"}
"""Options that change the time of a filling in ways that the first line does not know."""
WITH_FILES = ("--mask", "--image")
"""Options whose value is a file that is read."""


def first_words(command: str, words: Sequence[str]) -> None:
    """Refuse a picture that is missing, and say what a command is going to do and how long it takes, roughly.

    The time is that of the flow "photographs" on an idle core; for other flows it is left out.

    Raises:
        ValueError: if a file that is read does not exist.
    """
    if command not in (*SECONDS, "inpaint", "explore") or {"-h", "--help"} & set(words):
        return
    options, files = _parsed(words)
    for name, value in [*options.items(), *(("", file) for file in files)]:
        if name in ("", *WITH_FILES) and Path(value).suffix and not Path(value).exists():
            raise InputError(f"{'a mask' if name == '--mask' else 'a picture'} in {value}", "no such file")
    if command == "explore" or "--test" in options:
        return
    if has_flow := bool(files) and (files[0] in pretrained_names() or not _is_picture(files[0])):
        flow, files = files[0], files[1:]
    known = not has_flow or flow == "photographs"
    sizes = [_size(Path(file), options.get("--scale", LONGEST.get(command, ""))) for file in files if _is_picture(file)]
    if not sizes:
        return
    text = f"{command}: {', '.join(files)}"
    if command == "inpaint":
        pixels, pieces = _hole(options, sizes[0])
        filling = FILL_SECONDS[0] + FILL_SECONDS[1] * pixels if pieces == 1 else PIECE_SECONDS * pieces
        seconds = len(sizes) * filling
        known = known and pieces > 0 and not UNTOLD & set(options)
    else:
        number = max(len(sizes) - 1, 1) if command == "mix" else 1
        read = sizes[:1] if command == "mix" else sizes
        seconds = number * sum(height * width for height, width in read) * SECONDS[command]
        seconds *= (int(options.get("--times", "2")) / 2) ** 2 if options.get("--times", "2").isdecimal() else 1
    edges = " and ".join(f"{height} x {width}" for height, width in sizes[:3])
    expected = f": about {_rounded(START + seconds)} on an idle core" if known else ""
    print(f"{text}, {edges} pixels{' and more' * (len(sizes) > 3)}{expected}", file=sys.stderr, flush=True)


def _parsed(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and all other words, without knowing which options take values."""
    options, files, name = dict[str, str](), list[str](), ""
    for word in words:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            options[name] = value
            name = "" if value or name == "--json" else name
        elif name:
            options[name], name = word, ""
        else:
            files.append(word)
    return options, files


def _is_picture(file: str) -> bool:
    """Return whether a word names a picture rather than a flow, by its suffix; PIL reads the file later."""
    return Path(file).suffix.lower() not in ("", ".npy", ".mera", ".safetensors", ".toml", ".pt")


def _size(file: Path, longest: str) -> tuple[int, int]:
    """The height and the width of a picture, reduced to a longer edge; (0, 0) for other files."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) > 4:  # turned by a quarter
                width, height = height, width
    except Exception:  # the reader will refuse the file later
        return 0, 0
    share = min(1.0, int(longest) / max(height, width)) if longest.isdecimal() else 1.0
    return round(share * height), round(share * width)


def _hole(options: dict[str, str], size: tuple[int, int]) -> tuple[int, int]:
    """The number of masked pixels of a picture, and that of the pieces in which they are filled; (0, 0) if unknown."""
    import numpy as np
    from PIL import Image

    from mera.cli.pieces import pieces_of

    try:
        if "--region" in options:
            (top, bottom), (left, right) = (map(int, span.split(":")) for span in options["--region"].split(","))
            hidden = np.ones(size, bool)[top:bottom, left:right]
        else:
            with Image.open(options["--mask"]) as image:
                hidden = np.asarray(image.convert("L")) >= 128
        return int(hidden.sum()), len(pieces_of(hidden))
    except Exception:  # as above
        return 0, 0


def _rounded(seconds: float) -> str:
    """A number of seconds as text, "20 s" or "3 minutes"."""
    if seconds > 100:
        return f"{seconds / 60:.0f} minutes"
    return f"{round(seconds) if seconds < 10 else 5 * round(seconds / 5)} s"
