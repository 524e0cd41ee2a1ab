"""The manifest of a folder that can be resumed: its kind, what was computed, and which files belong to it. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import as_path, locked, make_folder, write_atomically

NAME = "manifest.json"
FORMAT = 1
MOST = 200
"""The most characters of a value in a message."""
DAMAGED = "one that is damaged, was edited, of an earlier version, or of another folder or name"
SUM = "sum"
"""The key of the checksum in JSON."""


class Manifest:
    """The manifest of a folder of one kind: a run, a measurement, a stream.

    The file `manifest.json` holds the kind, the facts (what was computed: the flow, the data, settings, the seed), the
    identity, a digest of the first facts, and a checksum of all of it, so that an edited file is refused. Each part, a
    file of the folder that is read again, has a checksum of its content and its `seal`: a part of another folder, or
    under another name, does not have the right one. Lines of JSON have it as an entry, other files in a line of JSON
    behind their content; a flow in safetensors holds the seal in the description that its own checksum covers.

    Args:
        path: the folder, which need not exist yet.
        kind: the kind of the folder, as messages name it: "run".
    """

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        self.path, self.kind = as_path(path), kind

    @property
    def exists(self) -> bool:
        """Return whether the folder has a manifest."""
        return (self.path / NAME).is_file()

    def locked(self) -> AbstractContextManager[None]:
        """A context in which no other process writes to the folder.

        Raises:
            FileExistsError: if another process, or another call in this one, has locked the folder.
        """
        return locked(self.path, f"a {self.kind} to which no other process writes")

    def write(self, facts: Mapping[str, Any], parts: Iterable[str] = ()) -> None:
        """Write the facts as JSON, other values as their text; a folder that has a manifest keeps its identity.

        Raises:
            FileExistsError: if the folder has files of the patterns `parts`, but no manifest.
        """
        facts = json.loads(json.dumps(facts, default=str))
        if self.exists:
            identity = self._read()["identity"]
        elif orphan := next((file for pattern in parts for file in sorted(self.path.glob(pattern))), None):
            raise FileExistsError(f"Expected an empty folder for a {self.kind}; got {orphan} without a {NAME}")
        else:
            identity = _digest(self.kind, facts)
        make_folder(self.path)
        content = {"kind": self.kind, "format": FORMAT, "identity": identity, "facts": facts}
        write_atomically(self.path / NAME, _summed(content, "", indent=2))

    def facts(self) -> dict[str, Any]:
        """The facts.

        Raises:
            FileNotFoundError: if the folder has no manifest.
            ValueError: if the manifest is damaged or was edited, or that of a folder of another kind or format.
        """
        return self._read()["facts"]

    def _read(self) -> dict[str, Any]:
        if not self.exists:
            raise FileNotFoundError(f"Expected the folder of a {self.kind}; got {self.path}, which has no {NAME}")
        content = self._checked(NAME, read_json(self.path / NAME), "")
        if (content.get("kind"), content.get("format")) != (self.kind, FORMAT):
            got = f"a {content.get('kind')} of format {content.get('format')}"
            raise InputError(f"a {self.kind} of format {FORMAT}", got, where=str(self.path))
        return content

    def compare(self, facts: Mapping[str, Any], but: Collection[str] = ()) -> None:
        """Refuse facts that differ from those of the folder, and name the first one; the facts `but` may differ."""
        before, now = self.facts(), json.loads(json.dumps(facts, default=str))
        for name in now:
            if name not in but and before.get(name) != now[name]:
                old, new = _difference(before.get(name), now[name])
                raise InputError(f"the {name} of the {self.kind} in {self.path}, {old}", new)

    # Parts

    def seal(self, name: str) -> str:
        """The text that ties a part to this folder and to its name: kind, identity of the folder, name."""
        return f"{self.kind} {self._read()['identity']} {name}"

    def check(self, name: str, seal: object) -> None:
        """Refuse a part with the seal of another folder or another name."""
        if seal != self.seal(name):
            raise InputError(f"the file of this {self.kind}", f"that of another: {seal}", where=str(self.path / name))

    def write_part(self, name: str, content: bytes, **facts: Any) -> None:
        """Write bytes as a part, followed by a line of JSON with their checksum and further facts."""
        facts["content"] = hashlib.sha256(content).hexdigest()
        write_atomically(self.path / name, content + b"\n" + _summed(facts, self.seal(name)))

    def read_part(self, name: str) -> tuple[bytes, dict[str, Any]]:
        """Check the checksum of a part, and return its bytes and the facts that follow them."""
        content, _, line = (self.path / name).read_bytes().rpartition(b"\n")
        facts: dict[str, Any] = {}
        with suppress(InputError):  # bytes that are not JSON have no right checksum either
            facts = parse_json(line, name)
        facts = self._checked(name, facts, self.seal(name))
        if hashlib.sha256(content).hexdigest() != facts["content"]:
            raise InputError(f"a file as mera wrote it for this {self.kind}", DAMAGED, where=str(self.path / name))
        return content, facts

    def append(self, name: str, *entries: Mapping[str, Any]) -> None:
        """Add lines of JSON to a part, and flush it to the disk; the checksum of a line depends on its number, too."""
        lines = self._written(name, entries, self.count(name))
        with open(self.path / name, "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def count(self, name: str) -> int:
        """The number of complete lines of a part."""
        return (self.path / name).read_bytes().count(b"\n") if (self.path / name).exists() else 0

    def entries(self, name: str) -> list[dict[str, Any]]:
        """The lines of a part; an incomplete last line, of a killed process, is left out."""
        path = self.path / name
        if not path.exists():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]
        seal = self.seal(name)
        return [self._checked(name, parse_json(line, path), (seal, i)) for i, line in enumerate(lines)]

    def rewrite(self, name: str, entries: Collection[Mapping[str, Any]]) -> None:
        """Replace the lines of a part."""
        write_atomically(self.path / name, self._written(name, entries, 0))

    def _written(self, name: str, entries: Iterable[Mapping[str, Any]], first: int) -> bytes:
        """Entries as lines of JSON with checksums, which begin at line `first` of the part."""
        seal = self.seal(name)
        return b"".join(_summed(entry, (seal, first + i)) + b"\n" for i, entry in enumerate(entries))

    def _checked(self, name: str, value: dict[str, Any], seal: object) -> dict[str, Any]:
        """Check the checksum in a value, and return the value without it."""
        content = {key: item for key, item in value.items() if key != SUM}
        if value.get(SUM) != _digest(content, seal):
            raise InputError(f"a file as mera wrote it for this {self.kind}", DAMAGED, where=str(self.path / name))
        return content


def is_run(path: str | PathLike[str]) -> bool:
    """Return whether a path is the folder of a run, by its manifest, which is not checked."""
    file = as_path(path) / NAME
    try:
        return file.is_file() and read_json(file).get("kind") == "run"
    except InputError:
        return False


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """A file of JSON with one object; a ValueError names the file if it holds something else."""
    path = as_path(path)
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes | str, path: str | PathLike[str]) -> dict[str, Any]:
    """An object of JSON from the content of a file; a ValueError names the file if it is something else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError("JSON", str(error)[:200] or "brackets too deep", where=str(path)) from None
    if not isinstance(value, dict):
        raise InputError("a JSON object", repr(value)[:80], where=str(path))
    return value


def _summed(value: Mapping[str, Any], seal: object, indent: int | None = None) -> bytes:
    """A value as JSON with its checksum, which depends on a seal."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return json.dumps(plain | {SUM: _digest(plain, seal)}, indent=indent).encode()


def _digest(*values: Any) -> str:
    """A short text that changes with values of JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _difference(old: Any, new: Any, name: str = "") -> tuple[str, str]:
    """The differing entries of two values, as text; of values that are not mappings, the values themselves."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        before, now = (repr(value)[:MOST] for value in (old, new))
        return (f"{name}={before}", f"{name}={now}") if name else (before, now)
    names = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    pairs = [_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key) for key in names]
    return ", ".join(pair[0] for pair in pairs), ", ".join(pair[1] for pair in pairs)
