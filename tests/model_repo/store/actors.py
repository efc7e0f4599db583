"""Processes that change a repository: `python -m tests.model_repo.store.actors WORD ROOT …`.

crash ACTION ROOT     run ACTION in children, each killed at a later step, each in ROOT/<step>; prints the steps
race ROOT ROUNDS      at each line on stdin publish the next version; prints `won` or the error
publish ROOT          publish versions until killed; prints each number
promote ROOT TIMES    promote versions 1 and 2 in turn
full ROOT BYTES       publish where no file may grow beyond BYTES; prints the error
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from model_repo import ConflictError, Repository, RepositoryError, promote
from tests.model_repo.samples import publish, published
from tests.model_repo.store.failpoints import failpoint

ACTIONS: dict[str, tuple[int, Callable[[Repository], object]]] = {
    "first": (0, publish),
    "publish": (1, publish),
    "promote": (2, lambda repository: repository.change_routes("digits", lambda r, vs: promote(r, 1, vs))),
    "prune": (3, lambda repository: repository.prune("digits", 1)),
}
"""Name → versions published before, and what is done then."""


def crash(action: str, root: Path) -> None:
    """Kill the action at its 1st, 2nd, … call until one run goes through."""
    versions, act = ACTIONS[action]
    for step in itertools.count(1):
        repository = published(root / str(step), versions)
        child = os.fork()
        if child == 0:
            with failpoint(step, "kill"):
                act(repository)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            if os.waitstatus_to_exitcode(status) != 0:
                raise SystemExit(f"step {step}: exit status {os.waitstatus_to_exitcode(status)}")
            print(step - 1)
            return


def race(root: Path, rounds: int) -> None:
    """Publish the same version as the others, all at the same word."""
    repository = Repository(root)
    for version in range(1, rounds + 1):
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            publish(repository, version=version, cnn=str(os.getpid()).encode())
        except ConflictError as error:
            print(error, flush=True)
        else:
            print("won", flush=True)


def publish_for_ever(root: Path) -> None:
    """Publish one version after the other."""
    while True:
        print(publish(Repository(root)), flush=True)


def promote_often(root: Path, times: int) -> None:
    """Change the stable version again and again."""
    for _ in range(times):
        Repository(root).change_routes("digits", lambda routes, vs: promote(routes, 2 if routes.stable == 1 else 1, vs))


def full(root: Path, limit_bytes: int) -> None:
    """Publish with a limit on the size of files: a write beyond it fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        publish(Repository(root), cnn=b"x" * 10_000)
    except RepositoryError as error:
        print(error)


def main(words: list[str]) -> None:
    match words:
        case ["crash", action, root]:
            crash(action, Path(root))
        case ["race", root, rounds]:
            race(Path(root), int(rounds))
        case ["publish", root]:
            publish_for_ever(Path(root))
        case ["promote", root, times]:
            promote_often(Path(root), int(times))
        case ["full", root, limit]:
            full(Path(root), int(limit))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
