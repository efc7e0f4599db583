"""What is published, what should be served, and how routes change on the disk."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from model_repo import (
    Canary,
    ConflictError,
    ManifestError,
    NotFoundError,
    Repository,
    RepositoryError,
    Routes,
    RoutesError,
    UnsafePathError,
    promote,
    rollback,
    set_label,
)
from tests.model_repo.samples import manifest, publish, published, tree


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_ensembles_and_versions_are_listed_in_order(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for name in ("b", "a"):
        for _ in range(11):
            publish(repository, name)
    assert repository.ensembles() == ["a", "b"]
    assert repository.versions("a") == list(range(1, 12))
    assert repository.aspired()["a"].stable == 11


@pytest.mark.parametrize("name", ["01", "0", "-1", "1.0", "v1", "٣", "1 ", "+1", "9" * 19])
def test_a_folder_that_is_not_a_canonical_number_is_no_version(tmp_path: Path, name: str) -> None:
    repository = published(tmp_path)
    shutil.copytree(tmp_path / "digits" / "1", tmp_path / "digits" / name)
    assert repository.versions("digits") == [1]


def test_what_is_no_ensemble_or_version_is_ignored(tmp_path: Path) -> None:
    repository = published(tmp_path)
    write(tmp_path / "README.md", "notes")
    (tmp_path / "LINK").symlink_to(tmp_path / "README.md")
    write(tmp_path / ".git" / "1" / "ensemble.json", "{}")
    write(tmp_path / "a b" / "1" / "ensemble.json", "{}")
    write(tmp_path / "digits" / "2" / "half-copied.onnx", "")
    write(tmp_path / "digits" / "3", "a file")
    assert repository.ensembles() == ["digits"]
    assert repository.versions("digits") == [1]


def test_making_a_repository_does_not_touch_the_disk(tmp_path: Path) -> None:
    Repository(tmp_path / "models")
    assert tree(tmp_path) == set()


@pytest.mark.parametrize("what", ["missing", "file", "link to nowhere"])
def test_a_root_that_cannot_be_read_is_an_error_and_never_empty(tmp_path: Path, what: str) -> None:
    root = tmp_path / "models"
    if what == "file":
        root.write_text("")
    elif what == "link to nowhere":
        root.symlink_to(tmp_path / "nowhere")
    repository = Repository(root)
    for look in (repository.ensembles, repository.aspired):
        with pytest.raises(RepositoryError) as caught:
            look()
        assert not isinstance(caught.value, NotFoundError)
        assert str(root) in str(caught.value)
    with pytest.raises(RepositoryError) as asked:
        repository.versions("digits")
    assert not isinstance(asked.value, NotFoundError)


def test_an_ensemble_that_is_missing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^ensemble 'letters' does not exist$"):
        Repository(tmp_path).versions("letters")


def test_a_version_that_is_missing_is_not_found_and_the_others_are_named(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    for ask in (repository.open, repository.manifest, repository.signature):
        with pytest.raises(NotFoundError, match=r"^digits has no version 7; published: 1, 2$"):
            ask("digits", 7)


@pytest.mark.parametrize("name", ["..", "../digits", "/etc", "digits/1", "", ".git", "digits\n"])
def test_a_name_that_is_no_name_is_not_looked_up(tmp_path: Path, name: str) -> None:
    repository = published(tmp_path / "models")
    for ask in (repository.versions, repository.routes, repository.collect, repository.aspired_of):
        with pytest.raises(NotFoundError, match="is not a name"):
            ask(name)


def test_the_manifest_must_agree_with_its_folders(tmp_path: Path) -> None:
    repository = published(tmp_path)
    shutil.copytree(tmp_path / "digits" / "1", tmp_path / "letters" / "4")
    with pytest.raises(ManifestError) as caught:
        repository.open("letters", 4)
    assert str(caught.value) == (
        "ensemble.json of letters/4: name is 'digits', its folder says 'letters'; version is 1, its folder says 4"
    )


def test_the_manifest_is_the_one_that_was_published(tmp_path: Path) -> None:
    opened = published(tmp_path).manifest("digits", 1)
    expected = manifest(version=1, members=opened.members, golden=opened.golden)
    assert opened == expected


def test_the_signature_changes_with_any_file_and_with_nothing_else(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    folder = tmp_path / "digits" / "1"
    seen = [repository.signature("digits", 1)]
    assert seen[0] == Repository(tmp_path).signature("digits", 1)
    (folder / "members" / "cnn.onnx").write_bytes(b"other")
    seen.append(repository.signature("digits", 1))
    status = (folder / "golden.npz").stat()
    (folder / "golden.npz").write_bytes(b"X" * status.st_size)
    os.utime(folder / "golden.npz", ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.append(repository.signature("digits", 1))
    (folder / "extra").touch()
    seen.append(repository.signature("digits", 1))
    (folder / "members" / "rf.onnx").unlink()
    seen.append(repository.signature("digits", 1))
    assert len(set(seen)) == len(seen)
    publish(repository)
    assert repository.signature("digits", 1) == seen[-1]


# What should be served.


def test_routes_decide_what_is_served(tmp_path: Path) -> None:
    repository = published(tmp_path, 3)
    routes = Routes(stable=1, canary=Canary(3, 10), labels={"edge": 2})
    repository.write_routes("digits", routes, expected=Routes())
    aspired = repository.aspired()["digits"]
    assert (aspired.stable, aspired.canary, aspired.labels) == (1, Canary(3, 10), {"edge": 2})
    assert aspired.served == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "digits/routes.json: is not JSON: Input data was truncated"),
        ('{"stable": 7}', "stable is version 7, which is not published; published: 1, 2"),
        (
            '{"stabel": 1}',
            "digits/routes.json: unknown field 'stabel'"
            "; did you mean 'stable'? its keys are stable, canary, shadow, labels, history, generation",
        ),
        (" " * 2**20 + "{}", "digits/routes.json has 1048578 bytes, the limit is 1048576"),
    ],
)
def test_broken_routes_are_the_problem_of_their_ensemble_alone(tmp_path: Path, text: str, problem: str) -> None:
    repository = published(tmp_path, 2)
    publish(repository, "letters")
    write(tmp_path / "digits" / "routes.json", text)
    aspired = repository.aspired()
    assert aspired["digits"].problem == problem
    assert aspired["digits"].stable is None
    assert aspired["digits"].available == (1, 2)
    assert aspired["letters"].stable == 1


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_routes_that_are_no_file_of_their_own_are_refused(tmp_path: Path, kind: str) -> None:
    repository = published(tmp_path / "models")
    write(tmp_path / "elsewhere.json", '{"stable": 1}')
    path = tmp_path / "models" / "digits" / "routes.json"
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere.json")
    elif kind == "hard link":
        os.link(tmp_path / "elsewhere.json", path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UnsafePathError, match=r"^digits/routes\.json "):
        repository.routes("digits")
    assert (repository.aspired()["digits"].problem or "").startswith("digits/routes.json ")


def test_an_ensemble_without_versions_has_nothing_to_serve(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    aspired = Repository(tmp_path).aspired()["digits"]
    assert (aspired.stable, aspired.available, aspired.problem) == (None, (), None)


def test_a_link_to_an_ensemble_is_a_problem_that_is_seen(tmp_path: Path) -> None:
    repository = published(tmp_path / "models")
    (tmp_path / "models" / "letters").symlink_to(tmp_path / "models" / "digits")
    assert repository.aspired()["letters"].problem == "letters is a symbolic link, expected a folder"


# Changing routes.


def test_routes_are_written_when_they_are_as_expected_one_generation_up(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    repository.write_routes("digits", Routes(stable=1), expected=Routes())
    assert repository.routes("digits") == Routes(stable=1, generation=1)
    repository.write_routes("digits", Routes(stable=2), expected=Routes(stable=1, generation=1))
    assert json.loads((tmp_path / "digits" / "routes.json").read_text()) == {"stable": 2, "generation": 2}


def test_routes_that_changed_meanwhile_are_not_overwritten(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    seen = repository.routes("digits")
    repository.write_routes("digits", Routes(stable=1), expected=seen)
    with pytest.raises(ConflictError, match=r"^routes of digits changed meanwhile: look at them and try again$"):
        repository.write_routes("digits", Routes(stable=2), expected=seen)
    assert repository.routes("digits").stable == 1


def test_going_back_and_forth_is_not_mistaken_for_no_change(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    repository.write_routes("digits", Routes(stable=1), expected=Routes())
    seen = repository.routes("digits")
    repository.write_routes("digits", Routes(stable=2), expected=seen)
    repository.write_routes("digits", Routes(stable=1), expected=repository.routes("digits"))
    with pytest.raises(ConflictError):
        repository.write_routes("digits", Routes(stable=2), expected=seen)


@pytest.mark.parametrize(
    "routes", [Routes(stable=9), Routes(shadow=9), Routes(labels={"a": 9}), Routes(canary=Canary(9, 5))]
)
def test_a_route_to_a_version_that_is_not_published_is_not_written(tmp_path: Path, routes: Routes) -> None:
    repository = published(tmp_path, 2)
    with pytest.raises(RoutesError, match=r"^digits: .* is version 9, which is not published; published: 1, 2$"):
        repository.write_routes("digits", routes, expected=Routes())
    assert not (tmp_path / "digits" / "routes.json").exists()


def test_routes_that_would_not_read_back_are_not_written(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    for routes in (Routes(history=(1,) * 17), Routes(labels={"a/b": 1}), Routes(canary=Canary(1, 200.0))):
        with pytest.raises(RoutesError, match=r"^new routes\.json of digits: "):
            repository.write_routes("digits", routes, expected=Routes())
    assert repository.routes("digits") == Routes()


def test_a_change_that_is_refused_names_the_ensemble_and_writes_nothing(tmp_path: Path) -> None:
    repository = published(tmp_path, 1)
    with pytest.raises(RoutesError, match=r"^digits: nothing to roll back to: version 1 is stable"):
        repository.change_routes("digits", rollback)
    assert not (tmp_path / "digits" / "routes.json").exists()


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)

    def label(worker: int) -> None:
        for turn in range(10):
            name = f"w{worker}-{turn}"
            repository.change_routes("digits", lambda r, vs, name=name: set_label(r, name, 1, vs))  # type: ignore[misc]

    threads = [threading.Thread(target=label, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(repository.routes("digits").labels) == 40
    assert repository.routes("digits").generation == 40


def test_of_writers_with_the_same_expectation_one_wins(tmp_path: Path) -> None:
    repository = published(tmp_path, 2)
    outcomes: list[str] = []

    def write_once(worker: int) -> None:
        try:
            repository.write_routes("digits", Routes(labels={f"w{worker}": 1}), expected=Routes())
            outcomes.append("won")
        except ConflictError:
            outcomes.append("lost")

    threads = [threading.Thread(target=write_once, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]


def test_the_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    repository = published(tmp_path / "models")
    (tmp_path / "models" / "digits" / ".routes.lock").symlink_to(tmp_path / "made-by-following")
    with pytest.raises(RepositoryError, match=r"^digits/\.routes\.lock cannot be read or written: "):
        repository.change_routes("digits", lambda routes, versions: promote(routes, 1, versions))
    assert not (tmp_path / "made-by-following").exists()


# Removing versions.


def test_pruning_keeps_the_newest_versions(tmp_path: Path) -> None:
    repository = published(tmp_path, 5)
    assert repository.prune("digits", 2) == [1, 2, 3]
    assert repository.versions("digits") == [4, 5]
    assert tree(tmp_path / "digits") == {
        ".routes.lock",
        *(
            f"{version}{path}"
            for version in (4, 5)
            for path in ("", "/ensemble.json", "/golden.npz", "/members", "/members/cnn.onnx", "/members/rf.onnx")
        ),
    }


def test_pruning_keeps_what_a_route_names_and_what_a_rollback_goes_to(tmp_path: Path) -> None:
    repository = published(tmp_path, 9)
    routes = Routes(stable=3, canary=Canary(4, 1), shadow=5, labels={"edge": 6}, history=(1, 2))
    repository.write_routes("digits", routes, expected=Routes())
    assert repository.prune("digits", 1) == [1, 7, 8]
    assert repository.versions("digits") == [2, 3, 4, 5, 6, 9]
    assert repository.change_routes("digits", rollback).stable == 2


def test_a_dry_run_says_what_would_go_and_removes_nothing(tmp_path: Path) -> None:
    repository = published(tmp_path, 3)
    before = tree(tmp_path) | {"digits/.routes.lock"}
    assert repository.prune("digits", 1, dry_run=True) == [1, 2]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("keep", "left"), [(0, [3]), (1, [3]), (3, [1, 2, 3]), (99, [1, 2, 3])])
def test_the_stable_version_stays_whatever_keep_is(tmp_path: Path, keep: int, left: list[int]) -> None:
    repository = published(tmp_path, 3)
    repository.prune("digits", keep)
    assert repository.versions("digits") == left


def test_pruning_is_refused_while_the_routes_cannot_be_read(tmp_path: Path) -> None:
    repository = published(tmp_path, 3)
    for text, message in (("{", "is not JSON"), ('{"stable": 7}', "mend the routes first")):
        write(tmp_path / "digits" / "routes.json", text)
        with pytest.raises(RoutesError, match=message):
            repository.prune("digits", 1)
    assert repository.versions("digits") == [1, 2, 3]


def test_a_negative_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"^keep is -1, expected 0 or more$"):
        published(tmp_path).prune("digits", -1)
