"""Cone Monte Carlo of the action that a flow learnt, live."""

from __future__ import annotations

from nicegui import ui

from mera.drawing.colours import coloured
from mera.explore.live_chain import LiveChain
from mera.explore.pictures import address_of, polyline
from mera.explore.threads import in_thread
from mera.explore.visit import Visit

SHOWN = 200
"""The draws of m^2 that the curve shows."""


class ChainTab:
    """Chains that run while the page is open: a field, the acceptance by level, and m^2 with its autocorrelation.

    Args:
        visit: the image and the marked pixels.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.chain: LiveChain | None = None
        self._is_running = False

    def build(self) -> None:
        """Make the elements."""
        ui.label(f"Fields of {self.visit.action}, by moves of latents within their cones: exact for any flow.")
        with ui.row().classes("items-center"):
            self.switch = ui.switch("run the chains", on_change=self._run)
            ui.button("Start again", on_click=self._restart).props("outline")
        with ui.row().classes("gap-6"):
            self.field = (
                ui.interactive_image().classes("picture w-64").props('role="img" aria-label="the field of a chain"')
            )
            with ui.column():
                self.facts = ui.label().classes("whitespace-pre-line").props('role="status"')
                self.curve = ui.interactive_image(size=(200, 60)).classes("w-64")
                self.curve.props('role="img" aria-label="m^2 along a chain"')

    async def _run(self) -> None:
        """Sweep until the switch is off or the page is closed; one loop at a time, whatever the switch does."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while self.switch.value and not self.switch.is_deleted and self.switch.client.has_socket_connection:
                chain = None
                with self.visit.reporting():
                    chain = await in_thread(self._sweep)
                if chain is None:
                    break
                is_current = chain is self.chain  # there may have been a new start meanwhile
                if is_current:
                    self._show(chain)
        finally:
            self._is_running = False
            if not self.switch.is_deleted:
                self.switch.set_value(False)

    def _sweep(self) -> LiveChain:
        """The chains after another sweep; they are made first."""
        chain = self.chain
        if chain is None:
            chain = self.chain = LiveChain(self.visit.learnt.flow, self.visit.action)
        chain.sweep()
        return chain

    def _show(self, chain: LiveChain) -> None:
        """Show where the chains are."""
        self.field.set_source(address_of(coloured(chain.fields[0, 0].float().cpu())))
        self.facts.set_text(chain.describe())
        self.curve.set_content(polyline(chain.m2[-SHOWN:, 0].tolist()))

    def _restart(self) -> None:
        """Forget the chains, and what is shown of them."""
        self.chain = None
        self.field.set_source("")
        self.facts.set_text("")
        self.curve.set_content("")
