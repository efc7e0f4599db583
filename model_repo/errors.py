"""Every error of the model repository.

RepositoryError
├── ManifestError          the manifest is not valid; carries every problem found
├── RoutesError            routes.json is not valid, or a route names what is not there
├── IntegrityError         a file is missing, unnamed, of another size or of another digest
├── UnsafePathError        a path leaves the version folder, or is a link
├── NotFoundError          no such ensemble or version
└── ConflictError          the version exists already, or is in use by a route
"""

from __future__ import annotations

from collections.abc import Sequence


class RepositoryError(Exception):
    """Base of everything that reading or writing a model repository raises."""


class ManifestError(RepositoryError):
    """The manifest is refused; `problems` lists all of them, one sentence each."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{subject}: " + "; ".join(self.problems))


class RoutesError(RepositoryError):
    """`routes.json` cannot be read, or names a version that is not published."""


class IntegrityError(RepositoryError):
    """A file of a version is missing, not named in the manifest, or differs from its size or digest."""


class UnsafePathError(IntegrityError):
    """A path would leave the version folder, or passes through a link."""


class NotFoundError(RepositoryError):
    """The ensemble or the version does not exist."""


class ConflictError(RepositoryError):
    """The version is published already, or cannot be removed because a route names it."""
