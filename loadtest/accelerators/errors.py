"""Why a device cannot be measured; a LoadtestError, so that one handler prints them all."""

from __future__ import annotations

from loadtest.errors import LoadtestError


class DeviceError(LoadtestError):
    """The device is not there, or cannot be asked; the message is one line."""
