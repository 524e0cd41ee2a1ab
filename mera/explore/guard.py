"""Access control of the explorer: requests need its token, and their bodies have a bounded size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from secrets import compare_digest
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware that refuses requests without the token, and bodies above a size.

    As with Jupyter, the address of the first visit contains the token, `/?token=...`. The answer sets a cookie with the
    token, and redirects to the address without it. Scripts and other sites cannot read the cookie; a browser also sends
    the cookie to servers at other ports of 127.0.0.1.

    Args:
        app: the application.
        token: the token.
        cookie: the name of the cookie.
        origins: the allowed values of the Origin header, such as "http://127.0.0.1:8080".
        largest: the largest size of a body, in bytes.
    """

    def __init__(self, app: ASGI, token: str, cookie: str, origins: Collection[str], largest: int) -> None:
        self.app, self.token, self.cookie, self.origins, self.largest = app, token, cookie, origins, largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif self._is_token(_query_token(scope)) and scope["type"] == "http" and scope["path"] == "/":
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"
            headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
            await _answer(send, 303, "", headers)
        elif not self._is_token(_cookie(scope, self.cookie)) or _header(scope, b"origin") not in ("", *self.origins):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await _answer(send, 403, "Expected the address that `mera explore` printed, with its token; got none.")
        elif _length(scope) > self.largest:
            await _answer(send, 413, f"Expected at most {self.largest // 2**20} MiB; got {_length(scope):,} bytes.")
        else:
            await self.app(scope, self._bounded(receive), send)

    def _is_token(self, value: str) -> bool:
        """Whether a value is the token, compared in constant time."""
        return compare_digest(value.encode(), self.token.encode())

    def _bounded(self, receive: Receive) -> Receive:
        """Wrap `receive` so that a body above the largest size ends the connection."""
        total = 0

        async def bounded() -> Message:
            nonlocal total
            message = await receive()
            if message["type"] == "http.request":
                total += len(message.get("body", b""))
                if total > self.largest:
                    return {"type": "http.disconnect"}
            return message

        return bounded


def _query_token(scope: Message) -> str:
    """The token in the query string of a request; empty if there is none."""
    return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]


def _header(scope: Message, name: bytes) -> str:
    """A header of a request; empty if there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")


def _cookie(scope: Message, name: str) -> str:
    """A cookie of a request; empty if there is none."""
    pairs = (pair.strip().partition("=") for pair in _header(scope, b"cookie").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _length(scope: Message) -> int:
    """The Content-Length header of a request; 0 if there is none."""
    text = _header(scope, b"content-length")
    return int(text) if text.isdigit() else 0


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Answer a request with a line of text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
