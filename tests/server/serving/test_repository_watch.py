"""Looks at the repository are asked for by what happens in it, soon, and not by what is nobody's business yet."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import ParamSpec

import pytest

from server.serving.repository_watch import Source

POLL_S = 30.0
"""Longer than any test: what is noticed was noticed by an event."""
SOON_S = 5.0

P = ParamSpec("P")


def in_a_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def watched(root: Path, poll_interval_s: float = POLL_S) -> AsyncIterator[Source]:
    source = Source(root, poll_interval_s)
    task = asyncio.create_task(source.run())
    try:
        await asyncio.wait_for(source.changed(), SOON_S)  # the first look, for what was there before
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def published(root: Path, version: int = 1) -> None:
    staging = root / "tiny" / f".staging-{version}"
    staging.mkdir(parents=True)
    (staging / "ensemble.json").write_text("{}")
    staging.rename(root / "tiny" / str(version))


def routed(root: Path) -> None:
    new = root / "tiny" / ".routes.json"
    new.write_text("{}")
    os.replace(new, root / "tiny" / "routes.json")


@pytest.mark.parametrize(
    "happens",
    [
        lambda root: published(root, 2),
        routed,
        lambda root: (root / "tiny" / "1" / "ensemble.json").write_text("mended"),
        lambda root: (root / "tiny" / "1" / "members" / "a.onnx").write_bytes(b"mended"),
        lambda root: shutil.rmtree(root / "tiny" / "1"),
        lambda root: (root / "tiny" / "1").rename(root.parent / "away"),
        lambda root: (root / "other").mkdir(),
    ],
    ids=["publish", "routes", "manifest", "member", "removal", "moved away", "another ensemble"],
)
@in_a_loop
async def test_what_happens_to_versions_is_noticed(tmp_path: Path, happens: Callable[[Path], object]) -> None:
    root = tmp_path / "models"
    published(root)
    (root / "tiny" / "1" / "members").mkdir()
    async with watched(root) as source:
        happens(root)
        await asyncio.wait_for(source.changed(), SOON_S)


@in_a_loop
async def test_an_ensemble_that_is_new_is_watched_too(tmp_path: Path) -> None:
    async with watched(tmp_path) as source:
        (tmp_path / "tiny").mkdir()
        await asyncio.wait_for(source.changed(), SOON_S)
        published(tmp_path)
        await asyncio.wait_for(source.changed(), SOON_S)
        (tmp_path / "tiny" / "1" / "ensemble.json").write_text("mended")
        await asyncio.wait_for(source.changed(), SOON_S)


@in_a_loop
async def test_work_in_progress_is_not_looked_at(tmp_path: Path) -> None:
    published(tmp_path)
    async with watched(tmp_path) as source:
        staging = tmp_path / "tiny" / ".staging-2"
        staging.mkdir()
        (staging / "ensemble.json").write_text("{}")
        (tmp_path / "tiny" / ".lock").write_text("")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.changed(), 0.3)


@in_a_loop
async def test_many_events_at_once_are_one_look(tmp_path: Path) -> None:
    published(tmp_path)
    async with watched(tmp_path) as source:
        for number in range(50):
            (tmp_path / "tiny" / "1" / f"{number}").write_text("")
        await asyncio.wait_for(source.changed(), SOON_S)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.changed(), 0.3)


@in_a_loop
async def test_a_root_that_goes_is_watched_again_when_it_is_back(tmp_path: Path) -> None:
    root = tmp_path / "models"
    published(root)
    async with watched(root, poll_interval_s=0.05) as source:
        root.rename(tmp_path / "away")
        await asyncio.wait_for(source.changed(), SOON_S)
        published(root)
        began = monotonic()
        while not (root / "noticed").exists() and monotonic() - began < SOON_S:
            await source.changed()
            (root / "noticed").write_text("")


@in_a_loop
async def test_without_a_folder_the_poll_remains(tmp_path: Path) -> None:
    source = Source(tmp_path / "none", 0.05)
    task = asyncio.create_task(source.run())
    await asyncio.wait_for(source.changed(), SOON_S)
    await asyncio.wait_for(source.changed(), SOON_S)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@in_a_loop
async def test_a_watch_that_ends_gives_its_descriptor_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with watched(tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
