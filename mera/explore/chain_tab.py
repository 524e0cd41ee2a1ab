"""Cone Monte Carlo of the action that a flow learnt, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import run, ui

from mera.drawing.colours import coloured
from mera.explore.live_chain import LiveChain
from mera.explore.pictures import address_of, polyline

if TYPE_CHECKING:
    from mera.explore.page import Page

__all__ = ["ChainTab"]

SHOWN = 200
"""The draws of m^2 that the curve shows."""


class ChainTab:
    """Chains that run while the page is open: a field, the acceptance by level, and m^2 with its autocorrelation.

    Args:
        page: the page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.chain: LiveChain | None = None

    def build(self) -> None:
        """Make the elements."""
        ui.label(f"Fields of {self.page.action}, by moves of latents within their cones: exact for any flow.")
        with ui.row().classes("items-center"):
            self.switch = ui.switch("run", on_change=self._run)
            ui.button("Start again", on_click=self._restart).props("outline")
        with ui.row().classes("gap-6"):
            self.field = ui.interactive_image().classes("picture w-64").props('aria-label="the field of a chain"')
            with ui.column():
                self.facts = ui.label().classes("whitespace-pre-line").props('role="status"')
                self.curve = ui.html("", sanitize=False).classes("w-64").props('aria-label="m^2 along a chain"')

    async def _run(self) -> None:
        """Sweep until the switch is off or the page is closed."""
        while self.switch.value and not self.switch.is_deleted and self.switch.client.has_socket_connection:
            with self.page.reporting():
                await run.io_bound(self._sweep)
                self._show()
                continue
            self.switch.set_value(False)

    def _sweep(self) -> None:
        """A sweep of the chains, which are made first."""
        if self.chain is None:
            self.chain = LiveChain(self.page.learnt.flow, self.page.action)
        self.chain.sweep()

    def _show(self) -> None:
        """Show where the chains are."""
        if self.chain is None:
            return
        self.field.set_source(address_of(coloured(self.chain.fields[0, 0].float().cpu())))
        self.facts.set_text(self.chain.describe())
        self.curve.set_content(polyline(self.chain.m2[-SHOWN:, 0].tolist()))

    def _restart(self) -> None:
        """Forget the chains."""
        self.chain = None
