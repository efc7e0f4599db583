"""A process that is killed, loses a race or meets a full disk leaves nothing half-visible."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from model_repo import Repository, RepositoryError, Routes
from tests.model_repo.samples import publish, published, tree
from tests.model_repo.store.failpoints import failpoint

PROJECT = Path(__file__).parents[3]
ROOMY = 4096


def actor(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tests.model_repo.store.actors", *map(str, words)]


def run(*words: str | Path) -> str:
    done = subprocess.run(actor(*words), cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        actor(*words), cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def crashed(action: str, root: Path) -> list[Repository]:
    """What each run that was killed left, by step; the last one is of the run that went through."""
    steps = int(run("crash", action, root))
    assert steps >= 5
    return [Repository(root / str(step)) for step in range(1, steps + 2)]


def hidden(repository: Repository) -> set[str]:
    return {path for path in tree(repository.root / "digits") if path.startswith(".") and path != ".routes.lock"}


def readable(repository: Repository) -> list[int]:
    """The versions a reader sees, each of them found whole."""
    versions = repository.versions("digits")
    for version in versions:
        repository.verify("digits", version)
    return versions


@pytest.mark.parametrize(("action", "before"), [("first", []), ("publish", [1])])
def test_a_publish_killed_at_any_step_shows_the_whole_version_or_none(
    tmp_path: Path, action: str, before: list[int]
) -> None:
    left = crashed(action, tmp_path)
    seen: list[list[int]] = []
    for repository in left:
        if not (repository.root / "digits").exists():
            seen.append([])
            continue
        seen.append(readable(repository))
        assert repository.aspired()["digits"].problem is None
    after = [*before, len(before) + 1]
    appeared = seen.index(after)
    assert seen == [before] * appeared + [after] * (len(seen) - appeared)
    assert 0 < appeared < len(seen) - 1


@pytest.mark.parametrize("action", ["first", "publish"])
def test_the_publish_after_a_killed_one_succeeds_and_clears_what_it_left(tmp_path: Path, action: str) -> None:
    littered = 0
    for repository in crashed(action, tmp_path):
        exists = (repository.root / "digits").exists()
        before = repository.versions("digits") if exists else []
        littered += bool(exists and hidden(repository))
        version = publish(repository)
        assert readable(repository) == [*before, version]
        assert hidden(repository) == set()
    assert littered > 5


def test_a_promotion_killed_at_any_step_leaves_the_old_routes_or_the_new(tmp_path: Path) -> None:
    new = Routes(stable=1, history=(2,), generation=1)
    found = [repository.routes("digits") for repository in crashed("promote", tmp_path)]
    assert set(map(repr, found)) == {repr(Routes()), repr(new)}
    assert found == sorted(found, key=lambda routes: routes.generation)


def test_a_prune_killed_at_any_step_leaves_whole_versions(tmp_path: Path) -> None:
    for repository in crashed("prune", tmp_path):
        assert readable(repository) in ([1, 2, 3], [2, 3], [3])
        repository.prune("digits", 1)
        repository.collect("digits")
        assert readable(repository) == [3]
        assert hidden(repository) == set()


def test_a_publisher_killed_at_random_moments_leaves_whole_versions(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for published_before in range(6):
        process = start("publish", root)
        for _ in range(published_before + 1):
            line(process)
        process.kill()
        process.communicate()
        assert readable(Repository(root))[-1] > published_before
    publish(Repository(root))
    assert hidden(Repository(root)) == set()


def test_of_two_publishers_of_one_version_exactly_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    root, rounds = tmp_path / "models", 15
    processes = [start("race", root, str(rounds)) for _ in range(2)]
    for version in range(1, rounds + 1):
        assert [line(process) for process in processes] == ["ready", "ready"]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
        said = [line(process) for process in processes]
        won = said.index("won")
        told = said[1 - won]
        assert told.startswith(f"digits/{version} exists already; versions never change, the next free one is ")
        opened = Repository(root).open("digits", version)
        assert opened.read("members/cnn.onnx") == str(processes[won].pid).encode()
    for process in processes:
        process.communicate()
    assert readable(Repository(root)) == list(range(1, rounds + 1))
    assert hidden(Repository(root)) == set()


def test_a_reader_never_meets_half_of_the_routes(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    process = start("promote", tmp_path, "100")
    while process.poll() is None:
        assert repository.routes("digits").stable in (None, 1, 2)
    process.communicate()
    assert repository.routes("digits").generation == 100


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    repository = published(tmp_path, 1)
    before = tree(tmp_path)
    assert run("full", tmp_path, str(ROOMY)) == "digits: cannot write members/cnn.onnx: File too large\n"
    assert tree(tmp_path) == before
    assert publish(repository) == 2


def test_a_full_disk_leaves_no_trace_of_a_new_ensemble(tmp_path: Path) -> None:
    run("full", tmp_path, str(ROOMY))
    assert tree(tmp_path) == set()


def test_a_disk_that_fails_at_any_step_leaves_no_trace_before_the_rename(tmp_path: Path) -> None:
    doubted = "digits/2 is published, but a power cut may still undo it: No space left on device"
    outcomes: list[str | None] = []
    for step in itertools.count(1):
        repository = published(tmp_path / str(step), 1)
        before = tree(repository.root)
        with failpoint(step, "fail") as calls:
            outcomes.append(attempt(repository))
        if len(calls) < step:
            break
        if readable(repository) == [1]:
            assert tree(repository.root) == before
            assert (outcomes[-1] or "").endswith("No space left on device")
        else:
            # None: it was a folder that existed already which could not be made.
            assert outcomes[-1] in (None, doubted)
    assert outcomes[-1] is None
    assert outcomes.count(doubted) == 4
    assert len([outcome for outcome in outcomes if outcome]) > 15


def attempt(repository: Repository) -> str | None:
    try:
        publish(repository)
    except RepositoryError as error:
        return str(error)
    return None
