"""Where the server listens."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest

from tests.e2e.process import serving


def ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6 beside IPv4")
@pytest.mark.parametrize("fronts", ["0", "2"])
def test_every_address_of_ipv6_is_every_one_of_ipv4_too(tmp_path: Path, fronts: str) -> None:
    with serving(tmp_path, "--host", "::", "--fronts", fronts) as server:
        for address in ("127.0.0.1", "::1"):
            connection = http.client.HTTPConnection(address, server.port, timeout=30)
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().status == 200, address
            connection.close()
        assert any(f"listening on http://[::]:{server.port} (IPv6 and IPv4)" in line for line in server.log)
