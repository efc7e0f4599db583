"""Publishes an ensemble's current version again as its next one; one publish for each line on stdin.

A process of its own: reading, hashing and syncing files beside the load would be measured as the server's.
Each publish is answered on stdout by `{"version": N, "at": T}`, T on the machine-wide monotonic clock at the
moment the publish (and, where the stable version is pinned, the promotion) was complete; a failure by
`{"error": "..."}`, which ends the process.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence

import msgspec

from model_repo import NotFoundError, Repository, RepositoryError, promote


def republish(repository: Repository, name: str) -> int:
    """The number of the new version, whose members are the stable one's; it is stable when this returns.

    Raises RepositoryError.
    """
    routes = repository.routes(name)
    current = routes.stable or max(repository.versions(name), default=None)
    if current is None:
        raise NotFoundError(f"ensemble '{name}' has no version to publish again")
    version = repository.open(name, current)
    with repository.stage(name) as staging:
        for file in version.files():
            staging.add(file.file, version.read(file.file))
        number = staging.publish(msgspec.structs.replace(version.manifest, version=staging.next_version))
    if routes.stable is not None:
        repository.change_routes(name, lambda routes, versions: promote(routes, number, versions))
    return number


def main(argv: Sequence[str]) -> int:
    """Answer each line of stdin with one publish into `argv`'s repository and ensemble."""
    root, name = argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the load generator ends this process by closing stdin
    repository = Repository(root)
    for _ in sys.stdin:
        try:
            number = republish(repository, name)
        except (RepositoryError, OSError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return 1
        print(json.dumps({"version": number, "at": time.monotonic()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
