"""The report of a check: a row for each law."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from mera._utils.table import Table

HOLDS, FAILS, SKIPPED = "holds", "fails", "not checked"


@dataclass(frozen=True)
class Law:
    """A law and what was found.

    Args:
        name: the law in words.
        status: "holds", "fails", or "not checked".
        found: what was found, with numbers; or why the law was not checked.
    """

    name: str
    status: str
    found: str = ""


@dataclass(frozen=True, repr=False)
class CheckReport:
    """The laws that apply to an object.

    Args:
        subject: the object in words.
        laws: the laws, each with what was found.
    """

    subject: str
    laws: list[Law] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether no law fails."""
        return all(law.status != FAILS for law in self.laws)

    @property
    def failures(self) -> list[Law]:
        """The laws that fail."""
        return [law for law in self.laws if law.status == FAILS]

    def table(self) -> Table:
        """A table with a row for each law."""
        return Table(["law", "status", "found"], [(law.name, law.status, law.found) for law in self.laws])

    def __repr__(self) -> str:
        """The subject, the table and the verdict as text."""
        verdict = f"{len(self.failures)} of {len(self.laws)} laws fail" if self.failures else "all checked laws hold"
        return f"{self.subject}\n{self.table()}\n{verdict}"

    def _repr_html_(self) -> str:
        """The table as HTML for notebooks."""
        return self.table()._repr_html_()

    def add(self, name: str, holds: bool, found: str = "") -> None:
        """Add a law that was checked."""
        self.laws.append(Law(name, HOLDS if holds else FAILS, found))

    def skip(self, name: str, reason: str) -> None:
        """Add a law that was not checked, with the reason."""
        self.laws.append(Law(name, SKIPPED, reason))

    def bound(self, name: str, error: float, tolerance: float) -> None:
        """Add a law that holds if an error is at most a tolerance."""
        found = f"error {error:.1e}" if math.isfinite(error) else "infinite values or NaN"
        self.add(name, error <= tolerance, found)

    def attempt(self, name: str, law: Callable[[], str | None]) -> None:
        """Add a law that fails if a function raises an error, with its message."""
        try:
            self.add(name, True, law() or "")
        except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            self.add(name, False, str(error)[:300])
