"""Access control of the explorer: requests need its token and its address, and answers tell browsers what to refuse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from secrets import compare_digest

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mera.explore.studio import MAX_UPLOAD

METHODS = ("GET", "HEAD", "POST")
MAX_BODY = MAX_UPLOAD + 2**16
"""The largest body of a request, in bytes: a picture with its form."""
CONTENT = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws://{host}; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The sources from which a page may load: its own files, and scripts within it, which NiceGUI writes and compiles."""


class Guard:
    """ASGI middleware that refuses requests without the token, to another host, of other methods, or too large.

    As with Jupyter, the address of the first visit contains the token, `/?token=...`. The answer sets a cookie with the
    token, and redirects to the address without it. Scripts and other sites cannot read the cookie; a browser also sends
    the cookie to servers at other ports of 127.0.0.1.
    The Host header must be an allowed one, such as "127.0.0.1:8080", so that no name of another site that leads here is
    served; and so must the Origin header, if there is one. Answers forbid browsers to load anything of other sites, and
    to show the page in a frame.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str, hosts: Collection[str]) -> None:
        self.app, self.token, self.cookie, self.hosts = app, token, cookie, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        host, size = request.headers.get("host", ""), request.headers.get("content-length", "0")
        method = scope.get("method", "GET")
        answer: Response | None = None
        if host not in self.hosts:
            answer = _refusal(421, f"the address that `mera explore` printed; got {host}")
        elif method not in METHODS:
            answer = _refusal(405, f"one of {', '.join(METHODS)}; got {method}", {"allow": ", ".join(METHODS)})
        elif "transfer-encoding" in request.headers or not size.isdecimal() or int(size) > MAX_BODY:
            answer = _refusal(413, f"at most {MAX_BODY} bytes, whose number is given")
        elif self._is_token(request.query_params.get("token", "")) and scope["type"] == "http" and scope["path"] == "/":
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"
            answer = RedirectResponse("/", 303, {"set-cookie": cookie, "cache-control": "no-store"})
        elif not self._is_token(request.cookies.get(self.cookie, "")) or (
            request.headers.get("origin", "").removeprefix("http://") not in ("", *self.hosts)
        ):
            answer = _refusal(403, "the address that `mera explore` printed, with its token; got none")
        if answer is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = CONTENT.format(host=host)
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
            await send(message)

        await (answer or self.app)(scope, receive, send_guarded)

    def _is_token(self, value: str) -> bool:
        """Return whether a value is the token, compared in constant time."""
        return compare_digest(value.encode(), self.token.encode())


def _refusal(status: int, expected: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"Expected {expected}.", status, headers)
