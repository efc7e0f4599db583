"""Who may change what is served: the bearer token of the control paths."""

from __future__ import annotations

from server.errors import Forbidden
from server.secret import Secret


def check_token(authorization: str | None, token: Secret | None) -> None:
    """Return where the `Authorization` header carries the token; raises Forbidden else."""
    if token is None:
        raise Forbidden("the control paths are closed: no control token is set (TUTTI_CONTROL_TOKEN)")
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Forbidden("the control paths need the header 'Authorization: Bearer <token>'")
    if not token.matches(given.strip()):
        raise Forbidden("the control token is wrong")
