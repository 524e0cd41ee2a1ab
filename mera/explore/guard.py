"""Access control of the explorer: requests need its token, and their bodies have a bounded size."""

from __future__ import annotations

from collections.abc import Collection
from secrets import compare_digest

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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

    def __init__(self, app: ASGIApp, token: str, cookie: str, origins: Collection[str], largest: int) -> None:
        self.app, self.token, self.cookie, self.origins, self.largest = app, token, cookie, origins, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        length = request.headers.get("content-length", "")
        answer: Response | None = None
        if self._is_token(request.query_params.get("token", "")) and scope["type"] == "http" and scope["path"] == "/":
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"
            answer = RedirectResponse("/", 303, {"set-cookie": cookie, "cache-control": "no-store"})
        elif not self._is_token(request.cookies.get(self.cookie, "")) or (
            request.headers.get("origin", "") not in ("", *self.origins)
        ):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            text = "Expected the address that `mera explore` printed, with its token; got none."
            answer = PlainTextResponse(text, 403)
        elif length.isdigit() and int(length) > self.largest:
            text = f"Expected at most {self.largest // 2**20} MiB; got {int(length):,} bytes."
            answer = PlainTextResponse(text, 413)
        if answer is not None:
            await answer(scope, receive, send)
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
