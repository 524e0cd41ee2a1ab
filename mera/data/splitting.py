"""A split of files into training and test, such that parts of one photograph do not end up in both."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path

from mera._utils.errors import InputError

HELD_OUT = 10
"""Every tenth group of files is for the test."""
TOGETHER = 2, 100
"""The range of the mean number of files whose names begin alike, for which a warning is given."""
NUMBER = re.compile(r"[\W_]*(crop|patch|tile|part)?[\W_]*\d+$", re.IGNORECASE)
"""The end of the name of a part, as in photo_crop3."""
BEGINNING = "^.*_"
"""The path of a file up to the last underscore."""


def split_files(files: list[Path], root: Path, groups: str | None = None) -> tuple[list[Path], list[Path]]:
    """Training and test files: every tenth group, in the order of the files, is for the test.

    Args:
        root: the folder that contains all files.
        groups: None if each file is a group; "folder" if the files of a folder are; or a regular expression, whose
            match in the path of a file below `root` is the name of its group.

    Raises:
        ValueError: if `groups` is not a regular expression, a path does not match, or there are fewer than 2 groups.
    """
    if groups is None:
        _warn_of_parts([file.stem for file in files])
        names = [str(file) for file in files]
    else:
        names = [_group(file.relative_to(root), groups) for file in files]
    order = list(dict.fromkeys(names))
    if groups is not None and len(order) < 2 and files:
        raise InputError(f"at least 2 groups of files by groups={groups!r}", f"1, {order[0]!r}")
    period = HELD_OUT if groups is None else min(HELD_OUT, max(len(order), 1))
    held_out = set(order[period - 1 :: period])
    train = [file for file, name in zip(files, names, strict=True) if name not in held_out]
    return train, [file for file, name in zip(files, names, strict=True) if name in held_out]


def _group(path: Path, groups: str) -> str:
    """The name of the group of a file."""
    if groups == "folder":
        return str(path.parent)
    try:
        match = re.search(groups, path.as_posix())
    except re.error as error:
        raise InputError('groups as "folder" or a regular expression', f"{groups!r}: {error}") from None
    if match is None:
        raise InputError(f"groups={groups!r} to match a part of each path", str(path))
    return match[0]


def _warn_of_parts(stems: list[str]) -> None:
    """Warn if names such as a_1, a_2, b_1 suggest that several files are parts of one photograph."""
    beginnings = [NUMBER.sub("", stem) for stem in stems if NUMBER.search(stem)]
    counts = Counter(beginnings)
    mean = len(beginnings) / max(1, len(counts))
    if len(counts) > 1 and len(beginnings) > len(stems) / 2 and TOGETHER[0] <= mean <= TOGETHER[1]:
        beginning, number = counts.most_common(1)[0]
        warnings.warn(
            f"Every tenth file is for the test, but the names of {number} files begin with {beginning!r}. If they show "
            'one thing, they belong in one split: groups="folder", or groups= a regular expression, such as '
            f"{BEGINNING!r} for files whose names agree up to the last underscore",
            stacklevel=5,
        )
