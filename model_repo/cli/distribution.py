"""What pip knows the program by. The name `tutti` on the package index is another project's."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

NAME = "tutti-serve"


def version() -> str:
    """The installed version; `0+unknown` where the source runs without having been installed."""
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        return "0+unknown"


def install_extra(extra: str) -> str:
    """The line to type for an extra of this program."""
    return f"pip install '{NAME}[{extra}]'"
