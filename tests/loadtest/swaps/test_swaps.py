"""Swaps while load runs: by a command, and by publishing into a real repository."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest import Options, Report, SwapError, build, plan, run
from loadtest.swaps.republish import republish
from model_repo import FORMAT, Golden, Input, Manifest, Mean, Member, NotFoundError, Repository, promote
from tests.loadtest.samples import of_the_server
from tests.loadtest.scripted_server import Answer, Request, Script, ScriptedServer

SWAP = Options(
    url="",
    scenario="swap",
    swaps=3,
    duration_s=1.2,
    warmup_s=0.1,
    rate=100.0,
    timeout_s=20.0,
    patience_s=20.0,
    settle_s=0.3,
)


def report_of(script: Script, options: Options) -> Report:
    with ScriptedServer(script) as server:
        return build(run(plan(replace(options, url=server.url))))


def newest(repository: Repository) -> Script:
    """A server that loads nothing and answers as the repository's stable version."""

    def script(_: Request) -> Answer:
        return Answer(version=str(repository.aspired()["digits"].stable))

    return script


def published(root: Path) -> Repository:
    """A repository with version 1 of `digits`; its member is bytes that nobody runs here."""
    repository = Repository(root)
    root.mkdir(exist_ok=True)

    def about(data: bytes) -> tuple[str, int]:
        return hashlib.sha256(data).hexdigest(), len(data)

    (sha256, size), (golden_sha256, golden_size) = about(b"member"), about(b"golden")
    manifest = Manifest(
        format=FORMAT,
        name="digits",
        version=1,
        task="classification",
        classes=("no", "yes"),
        inputs=(Input(name="pixels", datatype="FP32", shape=(-1, 2, 3)),),
        members=(Member(name="m", file="members/m.onnx", sha256=sha256, bytes=size, output="p", kind="probabilities"),),
        fusion=Mean(),
        quorum=1,
        golden=Golden(file="golden.npz", sha256=golden_sha256, bytes=golden_size, rows=1),
    )
    with repository.stage("digits") as staging:
        staging.add("members/m.onnx", b"member")
        staging.add("golden.npz", b"golden")
        staging.publish(manifest)
    return repository


def test_republishing_makes_the_next_version_of_the_same_files(tmp_path: Path) -> None:
    repository = published(tmp_path)
    assert republish(repository, "digits") == 2
    first, second = repository.open("digits", 1), repository.open("digits", 2)
    assert first.files() == second.files()
    assert first.digest != second.digest
    assert repository.aspired()["digits"].stable == 2
    repository.verify("digits", 2)


def test_republishing_moves_a_pinned_route_along(tmp_path: Path) -> None:
    repository = published(tmp_path)
    repository.change_routes("digits", lambda routes, versions: promote(routes, 1, versions))
    assert republish(repository, "digits") == 2
    assert repository.aspired()["digits"].stable == 2


def test_republishing_takes_the_stable_version_not_the_newest(tmp_path: Path) -> None:
    repository = published(tmp_path)
    republish(repository, "digits")
    repository.change_routes("digits", lambda routes, versions: promote(routes, 1, versions))
    assert republish(repository, "digits") == 3
    assert repository.aspired()["digits"].stable == 3


def test_republishing_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="irises"):
        republish(published(tmp_path), "irises")


def test_each_version_published_during_the_load_is_seen_to_answer(tmp_path: Path) -> None:
    repository = published(tmp_path)
    report = report_of(newest(repository), replace(SWAP, repository=tmp_path))
    assert of_the_server(report) == []
    assert repository.versions("digits") == [1, 2, 3, 4]
    assert [swap.version for swap in report.swaps] == [2, 3, 4]
    assert all(swap.first_answer_s is not None for swap in report.swaps)
    assert list(report.versions) == ["1", "2", "3", "4"]
    assert report.regressions == []
    assert report.swaps_together is not None
    assert report.swaps_together.publish_to_first_answer_max_ms is not None
    assert report.duration_s > 1.2  # it goes on until there is an after to compare with


def test_a_command_publishes_and_names_the_version(tmp_path: Path) -> None:
    counter = tmp_path / "version"
    counter.write_text("1")
    command = f"""{sys.executable} -c "
import pathlib
path = pathlib.Path('{counter}')
version = int(path.read_text()) + 1
path.with_suffix('.new').write_text(str(version))
path.with_suffix('.new').replace(path)
print('published', version)
" """
    report = report_of(
        lambda request: Answer(version=counter.read_text()), replace(SWAP, swaps=2, swap_command=command)
    )
    assert of_the_server(report) == []
    assert [swap.version for swap in report.swaps] == [2, 3]


def test_a_command_that_names_no_version_swaps_to_the_first_that_is_newer(tmp_path: Path) -> None:
    flag = tmp_path / "published"
    command = f"{sys.executable} -c \"open('{flag}', 'w').close()\""
    report = report_of(
        lambda request: Answer(version="9" if flag.exists() else "4"), replace(SWAP, swaps=1, swap_command=command)
    )
    assert of_the_server(report) == []
    assert [swap.version for swap in report.swaps] == [9]


def test_a_version_that_never_answers_is_a_failure_and_ends_the_swapping(tmp_path: Path) -> None:
    repository = published(tmp_path)
    report = report_of(lambda request: Answer(), replace(SWAP, repository=tmp_path, patience_s=0.3))
    assert [swap.first_answer_s for swap in report.swaps] == [None]
    assert of_the_server(report) == [
        "only 1 of 3 versions were published",
        "published, but never answered: version 2",
    ]
    assert repository.versions("digits") == [1, 2]


def test_a_connection_that_goes_back_to_an_older_version_is_a_failure(tmp_path: Path) -> None:
    repository = published(tmp_path)

    def wavering(request: Request) -> Answer:
        stable = repository.aspired()["digits"].stable or 0
        return Answer(version=str(stable if request.number % 10 or stable == 1 else stable - 1))

    report = report_of(wavering, replace(SWAP, repository=tmp_path, connections=1))
    assert report.regressions
    assert all(back.newer == back.older + 1 for back in report.regressions)
    assert not report.passed
    assert "older version after a newer one" in of_the_server(report)[-1]


def test_a_swap_under_a_closed_loop_is_seen_too(tmp_path: Path) -> None:
    repository = published(tmp_path)
    stable = newest(repository)

    def unhurried(request: Request) -> Answer:
        return replace(stable(request), delay_s=0.005)

    options = replace(SWAP, repository=tmp_path, swaps=1, rate=None, connections=2)
    report = report_of(unhurried, options)
    assert of_the_server(report) == []
    assert [swap.version for swap in report.swaps] == [2]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo no such registry >&2; exit 3", "ended with 3: no such registry"),
        ("tutti-no-such-command", "ended with 127"),
    ],
)
def test_a_command_that_fails_ends_the_run_with_its_own_words(command: str, said: str) -> None:
    with pytest.raises(SwapError, match=said):
        report_of(lambda request: Answer(), replace(SWAP, swap_command=command))


def test_a_repository_that_cannot_be_published_into_ends_the_run_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(SwapError, match="digits"):
        report_of(lambda request: Answer(), replace(SWAP, repository=tmp_path))


def test_publishes_are_timed_on_the_generators_own_clock(tmp_path: Path) -> None:
    """Another process takes the time: it must be after the publish was due and before its version answered."""
    repository = published(tmp_path)
    report = report_of(newest(repository), replace(SWAP, swaps=1, repository=tmp_path))
    (swap,) = report.swaps
    assert swap.first_answer_s is not None
    assert swap.publish_began_s >= 0.6
    assert swap.published_s > swap.publish_began_s
    assert swap.first_answer_s > swap.publish_began_s
