"""uvicorn's httptools protocol is subclassed, which is no public interface: only tested releases are taken."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

from uvicorn.protocols.http import httptools_impl

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"

METHODS = (
    "connection_made connection_lost data_received send_400_response on_message_begin on_url on_header "
    "on_headers_complete on_body on_message_complete on_response_complete shutdown pause_writing resume_writing "
    "timeout_keep_alive_handler _unset_keepalive_if_required"
)
ATTRIBUTES = (
    "loop parser transport flow headers url scope cycle pipeline tasks connections server client scheme root_path "
    "asgi_version app_state limit_concurrency timeout_keep_alive server_state expect_100_continue"
)
OF_A_CYCLE = "response_complete response_started more_body keep_alive disconnected message_event"


def bounds(name: str) -> tuple[str, str]:
    """The least release that pyproject takes, and the first that it does not."""
    dependencies: list[str] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    (one,) = [each for each in dependencies if re.match(rf"{name}\b", each)]
    found = re.fullmatch(rf"{name}>=([\d.]+),<([\d.]+)", one)
    assert found is not None, f"{one}: expected a lower and an upper bound"
    return found[1], found[2]


def number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:2])


def test_the_release_that_the_tests_run_with_is_within_the_bounds() -> None:
    least, beyond = bounds("uvicorn")
    assert number(least) <= number(importlib.metadata.version("uvicorn")) < number(beyond)


def test_no_release_is_taken_that_was_not_tested() -> None:
    _, beyond = bounds("uvicorn")
    major, minor = number(importlib.metadata.version("uvicorn"))
    assert number(beyond) <= (major, minor + 1)


def test_what_is_overridden_or_read_is_there() -> None:
    protocol = httptools_impl.HttpToolsProtocol
    assert [name for name in METHODS.split() if not callable(getattr(protocol, name, None))] == []
    source = Path(httptools_impl.__file__).read_text(encoding="utf-8")
    given = set(re.findall(r"self\.(\w+)\s*(?::[^=\n]+)?=", source))
    assert sorted({*ATTRIBUTES.split(), *OF_A_CYCLE.split()} - given) == []
