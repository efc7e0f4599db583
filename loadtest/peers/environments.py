"""Virtual environments of the peers: one each, so that their pins cannot collide; made on first use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.peers.errors import PeerEnvironmentError

REQUIREMENTS = Path(__file__).parent / "requirements"
INSTALL_LIMIT_S = 1800

_INSTALLED = """\
import importlib.metadata, json, sys
found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
print(json.dumps([found, sys.version.split()[0]]))
"""


def default_folder() -> Path:
    """Where environments are kept: `tutti-peers` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "tutti-peers"


@dataclass(frozen=True, slots=True)
class Environment:
    """A peer's interpreter and the versions of what is pinned for it."""

    python: Path
    versions: dict[str, str]


def prepare(name: str, folder: Path, tell: Callable[[str], None] = lambda line: None) -> Environment:
    """The environment `folder`/`name` with `requirements/<name>.txt` in it; made or brought up to date if need be.

    An environment that holds the pinned versions is taken as it is. Raises PeerEnvironmentError.
    """
    pins = pinned(name)
    python = folder / name / "bin" / "python"
    if not python.exists():
        tell(f"{name}: creating {folder / name}")
        _create(name, folder / name)
    missing = _missing(name, python, pins)
    if missing:
        tell(f"{name}: installing {', '.join(missing)}")
        _install(name, python, folder)
        missing = _missing(name, python, pins)
    if missing:
        raise PeerEnvironmentError(f"peer '{name}': {folder / name} still lacks {', '.join(missing)}")
    return Environment(python, pins)


def pinned(name: str) -> dict[str, str]:
    """Package → version of `requirements/<name>.txt`; raises PeerEnvironmentError where there is no such file."""
    path = REQUIREMENTS / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise PeerEnvironmentError(f"peer '{name}' has no requirements: {path} is missing") from error
    pins = {}
    for line in lines:
        package, found, version = line.partition("==")
        if not found:
            raise PeerEnvironmentError(f"{path}: '{line}' is not pinned; expected package==version")
        pins[package.split("[")[0].lower()] = version
    return pins


def _missing(name: str, python: Path, pins: dict[str, str]) -> list[str]:
    done = subprocess.run(  # noqa: S603 - the environment's own interpreter
        [str(python), "-c", _INSTALLED], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise PeerEnvironmentError(f"peer '{name}': {python} does not run: {_last(done.stderr)}")
    installed, _ = json.loads(done.stdout)
    return [f"{package}=={version}" for package, version in pins.items() if installed.get(package) != version]


def _create(name: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        venv.create(path, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerEnvironmentError(f"peer '{name}': cannot create {path}: {error}") from error


def _install(name: str, python: Path, folder: Path) -> None:
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    log = folder / f"{name}.log"
    try:
        with log.open("w", encoding="utf-8") as out:
            done = subprocess.run(  # noqa: S603
                [*command, "-r", str(REQUIREMENTS / f"{name}.txt")],
                stdout=out, stderr=subprocess.STDOUT, timeout=INSTALL_LIMIT_S, check=False,
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PeerEnvironmentError(f"peer '{name}': pip did not end within {INSTALL_LIMIT_S} s; see {log}") from error
    except OSError as error:
        raise PeerEnvironmentError(f"peer '{name}': {folder} cannot be written: {error}") from error
    if done.returncode:
        said = _last(log.read_text(encoding="utf-8", errors="replace"))
        raise PeerEnvironmentError(f"peer '{name}': pip failed: {said}; see {log}")


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def own_python() -> Path:
    """The interpreter that runs this program, and Tutti."""
    return Path(sys.executable)
