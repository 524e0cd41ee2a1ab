"""The server of the explorer, which only this machine can reach, with the token in the printed address."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import warnings
import weakref
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.installation import import_optional
from mera.explore.studio import Learnt
from mera.flow.density import Density

HOST = "127.0.0.1"


class Explorer:
    """An interactive local web page of a flow: its levels, latents and fillings.

    NiceGUI serves one page in a process, so a process should make only one explorer.

    Args:
        flow: a flow of images without context, on a lattice of two dimensions.
        title: the title of the page.
        port: the port; None for any free port.
        image: a picture (C, H, W), uint8, to begin with; None for a sample.

    Attributes:
        address: the address with the token, for the first visit.

    Raises:
        ValueError: if the flow has a context or another lattice, the port is taken, or NiceGUI is not installed:
            `pip install 'mera-flow[explore]'`.
    """

    def __init__(
        self, flow: Density, title: str = "a flow", port: int | None = None, image: Tensor | None = None
    ) -> None:
        self.image, self.learnt = image, Learnt(flow, title)
        import_optional("nicegui", "explore")
        self._socket = _bound(port)
        weakref.finalize(self, self._socket.close)
        self.port: int = self._socket.getsockname()[1]
        self._token = secrets.token_urlsafe(24)
        self.address = f"http://{HOST}:{self.port}/?token={self._token}"

    def run(self, show: bool = True) -> None:
        """Serve until the process is interrupted; open the page in a browser if `show`."""
        import uvicorn
        from fastapi import FastAPI
        from nicegui import ui

        from mera.explore.guard import Guard
        from mera.explore.page import Page

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        def page() -> None:
            Page(self.learnt, self.image)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # NiceGUI reads deprecated names of torch
            ui.run_with(app, root=page, title=f"mera: {self.learnt.title}", dark=None, show_welcome_message=False)
        app.add_middleware(
            Guard,
            token=self._token,
            cookie=f"mera-explore-{self.port}",
            hosts=[f"{name}:{self.port}" for name in (HOST, "localhost")],
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        torch.seed()  # a different first image in each process
        with private_page(self.address) as path:
            if show:
                threading.Timer(1.0, webbrowser.open, [path.as_uri()]).start()
            server.run(sockets=[self._socket])


@contextmanager
def private_page(address: str) -> Iterator[Path]:
    """A context with an HTML file that only its owner can read, and that leads a browser to an address with a token.

    Every user of a machine can read the command line of a browser; as with Jupyter, it has only the path of this file.
    """
    with TemporaryDirectory(prefix="mera-explore-") as folder:  # which only its owner can enter
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        link = escape(address, quote=True)
        page.write_text(
            f'<!DOCTYPE html><meta charset="utf-8"><title>mera explore</title>'
            f'<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">The explorer</a>'
        )
        yield page


def _bound(port: int | None) -> socket.socket:
    """Open a listening socket at a port of 127.0.0.1, which other machines cannot reach."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # on Windows, the option would let another process take the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port or 0))
        listener.listen()  # so that an early request waits for the server and is not refused
    except OSError as error:
        listener.close()
        raise InputError("a free port", f"{port}: {error.strerror}") from error
    return listener
