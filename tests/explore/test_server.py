"""Who may ask the explorer's server, and where it listens."""

import http.client
import re
import socket
from contextlib import closing

import pytest

from mera.explore.server import private_page
from tests.helpers.command import run


def test_who_may_ask(address):
    port = int(re.search(r":(\d+)/", address).group(1))
    token = address.split("token=")[1]

    def answer(path, method="GET", **headers):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            with connection.getresponse() as response:
                return response.status, response.getheader("set-cookie"), response.headers

    cookie = answer(f"/?token={token}")[1]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    mine = cookie.split(";")[0]
    assert answer("/", Cookie=mine)[0] == 200
    assert answer("/", Cookie=f'prefs={{"a":1,"b":"x y"}}; {mine}')[0] == 200  # beside a cookie of another program
    for path, headers in (
        ("/", {}), ("/?token=guess", {}), ("/file", {}), ("/file?token=" + token, {}),
        ("/", {"Cookie": mine[:-1] + "!"}), ("/", {"Cookie": mine, "Origin": "http://127.0.0.1:1"}),
        ("/_nicegui_ws/socket.io/?EIO=4&transport=polling", {}),
    ):  # fmt: skip
        assert answer(path, **headers)[0] == 403, (path, headers)
    for status, method, headers in (
        (421, "GET", {"Host": f"attacker.example:{port}"}), (405, "DELETE", {}), (405, "PUT", {}),
        (413, "POST", {"Content_Length": str(21 * 2**20)}), (413, "POST", {"Transfer_Encoding": "chunked"}),
    ):  # fmt: skip
        assert answer("/", method, Cookie=mine, **headers)[0] == status, headers
    headers = answer("/", Cookie=mine)[2]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))  # another address of this machine


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("explore", "digits", "--port", taken.getsockname()[1], "--no-browser")
    assert result.exit_code == 1
    assert "Expected a free port" in str(result.exception)


def test_the_page_that_opens_the_browser_is_private():
    with private_page("http://127.0.0.1:1/?token=secret") as page:
        assert page.stat().st_mode & 0o077 == 0
        assert page.parent.stat().st_mode & 0o077 == 0
        assert 'url=http://127.0.0.1:1/?token=secret"' in page.read_text()
        assert "secret" not in page.as_uri()
    assert not page.exists()
