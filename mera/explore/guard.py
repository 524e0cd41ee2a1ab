"""Access control of the explorer: requests need its token."""

from __future__ import annotations

from collections.abc import Collection
from secrets import compare_digest

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Guard:
    """ASGI middleware that refuses requests without the token.

    As with Jupyter, the address of the first visit contains the token, `/?token=...`. The answer sets a cookie with the
    token, and redirects to the address without it. Scripts and other sites cannot read the cookie; a browser also sends
    the cookie to servers at other ports of 127.0.0.1.
    The Origin header of a request, such as "http://127.0.0.1:8080", must be an allowed one.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str, origins: Collection[str]) -> None:
        self.app, self.token, self.cookie, self.origins = app, token, cookie, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
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
        await (answer or self.app)(scope, receive, send)

    def _is_token(self, value: str) -> bool:
        """Whether a value is the token, compared in constant time."""
        return compare_digest(value.encode(), self.token.encode())
