"""The command line, `tutti serve | export | publish | repo | …`, each command imported only when used."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from model_repo import Repository

COMMANDS = {
    "demo": ("tutti", "train the digits ensemble, publish it, serve it, print a request to try"),
    "serve": ("server.__main__", "serve the ensembles of a model repository"),
    "export": ("exporter.cli.export", "train the members of a recipe, fuse, convert, check and publish them"),
    "refit": ("exporter.cli.refit", "add, drop or reweight members of a published ensemble without training"),
    "aggregate": ("exporter.cli.aggregate", "average the parameters of members of one lineage to one member"),
    "publish": ("exporter.cli.publish", "publish your own ONNX files as an ensemble"),
    "inspect": ("exporter.cli.inspect", "say what ONNX files take and give and what publish would make of them"),
    "repo": ("model_repo.cli.repo", "list, verify, promote, roll back and prune published versions"),
    "loadtest": ("loadtest.cli", "load a server, swap under load, and report"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2: the call is wrong, 1: it ran and the answer is bad)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()  # here, where a reader that left can be met
    except KeyboardInterrupt:
        print(_interrupted(words), file=sys.stderr)
        return 130
    except BrokenPipeError:
        _write_to_nobody()
        return 1


def _run(words: list[str]) -> int:
    if len(words) > 1 and words[0] == "help":
        words = [words[1], "--help"] if words[1] in COMMANDS else words[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"tutti {_version()}")
        return 0
    if words[0] not in COMMANDS:
        print(_unknown(words[0]), file=sys.stderr)
        return 2
    try:
        with _interruptible(words):
            module = importlib.import_module(COMMANDS[words[0]][0])
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("server", "exporter", "model_repo", "loadtest"):
            raise  # ours: a bug, not a missing extra
        extra = "loadtest" if words[0] == "loadtest" else "export"
        print(f"tutti {words[0]}: needs the package '{error.name}': {_install(extra)}", file=sys.stderr)
        return 2
    run = demo if words[0] == "demo" else module.main
    return int(run(words[1:]))


def _interrupted(words: Sequence[str]) -> str:
    return f"{' '.join(['tutti', *words[:1]])}: interrupted"


@contextmanager
def _interruptible(words: Sequence[str]) -> Iterator[None]:
    """Leave at once on Ctrl-C: an exception inside an import becomes whatever the library makes of it."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def leave(number: int, frame: object) -> NoReturn:
        os.write(2, f"{_interrupted(words)}\n".encode())
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _write_to_nobody() -> None:
    """The reader of a pipe left, as `head` does: what is still to be written goes nowhere, and nobody is told."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def demo(argv: Sequence[str]) -> int:
    """Train and publish the digits ensemble unless it is there, serve it, print a request; returns the exit status."""
    from model_repo import Repository
    from model_repo.cli.command_line import Parser
    from server.__main__ import main as serve
    from server.__main__ import refused

    parser = Parser(
        prog="tutti demo", description="Train the digits ensemble, publish it, serve it, print a request to try."
    )
    parser.add_argument("--repository", default="models", metavar="DIR", help="model repository [models]")
    parser.add_argument("--port", default="8000", help="TCP port to serve on; 0 takes a free one [8000]")
    arguments = parser.parse_args(list(argv))
    if status := refused(["--repository", arguments.repository, "--port", arguments.port]):
        return status  # before minutes of training
    repository = Repository(arguments.repository)
    if not _published(repository, "digits"):
        # A process of its own: training leaves several hundred MB behind that a server does not need.
        command = [sys.executable, "-m", "tutti", "export", "digits", "--repository", arguments.repository]
        if status := subprocess.run(command, check=False).returncode:  # noqa: S603 - our own command line
            return status
    return serve(
        ["--repository", arguments.repository, "--port", arguments.port],
        announce=lambda address: print(_request_to_try(repository, address), flush=True),
    )


def _published(repository: Repository, name: str) -> bool:
    from model_repo import RepositoryError

    try:
        return bool(repository.versions(name))
    except RepositoryError:
        return False


def _request_to_try(repository: Repository, address: str) -> str:
    """A `curl` line with a golden row of the newest digits, and what else there is to look at."""
    import io
    import json

    import numpy as np

    version = repository.open("digits", repository.versions("digits")[-1])
    golden = np.load(io.BytesIO(version.read(version.manifest.golden.file)), allow_pickle=False)
    row = golden[f"input:{version.manifest.inputs[0].name}"][0]
    body = json.dumps({"instances": [row.astype(int).tolist()]}, separators=(",", ":"))
    return (
        f"\nTry it (in another terminal):\n\n  curl -s {address}/v1/models/digits:predict -d '{body}'\n\n"
        f"More: {address}/v2/models/digits (metadata), {address}/metrics, {address}/schema; Ctrl-C stops.\n"
    )


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: tutti COMMAND …", "", "Serve versioned ensembles of ONNX models.", "", *lines, "",
         "tutti COMMAND --help says more; tutti --version prints the version."]
    )  # fmt: skip


def _unknown(word: str) -> str:
    from model_repo.wording import did_you_mean, shortened

    if word.startswith("-"):
        near = did_you_mean(word, ["--help", "--version"])
        return f"tutti: unknown flag {word.partition('=')[0]}; a command comes first: {', '.join(COMMANDS)}{near}"
    near = did_you_mean(word, [*COMMANDS, "--version"])
    return f"tutti: unknown command {shortened(word)}; there are {', '.join(COMMANDS)}{near}"


def _version() -> str:
    from model_repo.cli.distribution import version

    return version()


def _install(extra: str) -> str:
    from model_repo.cli.distribution import install_extra

    return install_extra(extra)


if __name__ == "__main__":
    sys.exit(main())
