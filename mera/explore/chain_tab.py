"""Tab with live cone Monte Carlo of the action that a flow learnt."""

from __future__ import annotations

from nicegui import ui

from mera.drawing.colours import coloured
from mera.explore.live_chain import LiveChain
from mera.explore.pictures import address_of, picture_element, polyline
from mera.explore.visit import Visit, in_thread

SHOWN = 200
"""The number of draws of m^2 in the curve."""


class ChainTab:
    """Chains that run while the page is open: a field, the acceptance by level, and m^2 with its autocorrelation."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.chain: LiveChain | None = None
        self._is_running = False

    def build(self) -> None:
        """Build the elements of the tab."""
        ui.label(f"Fields of {self.visit.action}, by moves of latents within their cones: exact for any flow.")
        with ui.row().classes("items-center"):
            self.switch = ui.switch("run the chains", on_change=self._run)
            ui.button("Start again", on_click=self._restart).props("outline")
        with ui.row().classes("gap-6"):
            self.field = picture_element("the field of a chain", 64)
            with ui.column():
                self.facts = ui.label().classes("whitespace-pre-line").props('role="status"')
                self.curve = ui.interactive_image(size=(200, 60), sanitize=False).classes("w-64")
                self.curve.props('role="img" aria-label="m^2 along a chain"')

    async def _run(self) -> None:
        """Sweep until the switch is off or the page is closed; only one loop runs at a time."""
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
                is_current = chain is self.chain  # otherwise, the chains were restarted during the sweep
                if is_current:
                    self._show(chain)
        finally:
            self._is_running = False
            if not self.switch.is_deleted:
                self.switch.set_value(False)

    def _sweep(self) -> LiveChain:
        """Make the chains if there are none, move them by one sweep, and return them."""
        chain = self.chain
        if chain is None:
            chain = self.chain = LiveChain(self.visit.learnt.flow, self.visit.action)
        chain.sweep()
        return chain

    def _show(self, chain: LiveChain) -> None:
        """Show a field, the statistics and the curve of the chains."""
        self.field.set_source(address_of(coloured(chain.fields[0, 0].float().cpu())))
        self.facts.set_text(chain.describe())
        self.curve.set_content(polyline(chain.m2[-SHOWN:, 0].tolist()))

    def _restart(self) -> None:
        """Discard the chains, and clear the tab."""
        self.chain = None
        self.field.set_source("")
        self.facts.set_text("")
        self.curve.set_content("")
