"""Whether the server is ready: ready means serving, of every ensemble that counts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from server.serving.reconciler import Reconciler
from server.settings import Settings

log = logging.getLogger("tutti.manager")


class Readiness:
    """Judges what the reconcilers have brought about, and says each change of it in the log. Event-loop thread only.

    `reconcilers` by ensemble and the names `unloaded` through the control API are the manager's own, read each time.
    """

    def __init__(self, settings: Settings, reconcilers: Mapping[str, Reconciler], unloaded: Collection[str]) -> None:
        self._counting = settings.ready_ensembles
        self._when_empty = settings.ready_when_empty
        self._reconcilers = reconcilers
        self._unloaded = unloaded
        self._told: str | None = None

    def problem(self) -> str:
        """Why the server is not ready; "" where it is."""
        names = self._counting or self._published()
        if not names:
            return "" if self._when_empty else self._emptiness()
        return next(filter(None, map(self._problem_of, names)), "")

    def why_not(self, name: str) -> str:
        """Why this ensemble, which there is, does not serve."""
        reconciler = self._reconcilers[name]
        if name in self._unloaded:
            return f"ensemble '{name}' was unloaded through the control API"
        if (error := reconciler.failure()) is not None:
            return f"ensemble '{name}' has no version that serves: {error}"
        if not reconciler.settled_once:
            return f"ensemble '{name}' is loading"
        return f"ensemble '{name}' has no version that serves: {reconciler.aspired.problem or 'none is published'}"

    def announce(self) -> None:
        """Say what serves, or why the server is not ready; from now on also whenever that changes."""
        self._told = None
        self._tell()

    def changed(self) -> None:
        """Something may have changed: say it where it has been announced and is news."""
        if self._told is not None:
            self._tell()

    def _tell(self) -> None:
        problem = self.problem()
        if problem == self._told:
            return
        self._told = problem
        if problem:
            log.warning("not ready: %s", problem)
        else:
            log.info("ready: %s", self._serving() or "the repository is empty, and `ready_when_empty` is set")

    def _serving(self) -> str:
        versions = ((name, reconciler.table.versions) for name, reconciler in sorted(self._reconcilers.items()))
        return ", ".join(f"{name}/{version}" for name, served in versions for version in served)

    def _published(self) -> list[str]:
        """Ensembles with a version, or with routes that cannot be read, that nobody has unloaded."""
        return [
            name
            for name, reconciler in sorted(self._reconcilers.items())
            if name not in self._unloaded and (reconciler.aspired.available or reconciler.aspired.problem)
        ]

    def _emptiness(self) -> str:
        for name, reconciler in sorted(self._reconcilers.items()):
            if name not in self._unloaded and (odd := reconciler.aspired.misnamed):
                return f"ensemble '{name}' has no version: '{odd[0]}' in it is no version's number"
        if self._unloaded:
            return f"every ensemble was unloaded through the control API: {', '.join(sorted(self._unloaded))}"
        return "the repository holds no ensemble yet; publish one into it with 'tutti export' or 'tutti publish'"

    def _problem_of(self, name: str) -> str:
        reconciler = self._reconcilers.get(name)
        if reconciler is None:
            return f"ensemble '{name}' of `ready_ensembles` is not in the repository"
        return "" if reconciler.table.stable is not None and reconciler.settled_once else self.why_not(name)
