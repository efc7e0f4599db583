"""A version may carry the answers that its fusion was fitted to: named with digests, checked like every file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from model_repo import IntegrityError, LedgerFile, Manifest, Repository, Staging
from model_repo.store.verify import verify
from tests.model_repo.samples import manifest


def staged(staging: Staging, version: int) -> Manifest:
    """Members, golden rows and both files of a ledger, added; the manifest that names them."""
    plain = manifest(version=version)
    members = tuple(
        msgspec.structs.replace(member, sha256=added.sha256, bytes=added.bytes)
        for member in plain.members
        if (added := staging.add(member.file, member.name.encode()))
    )
    golden = staging.add("golden.npz", b"golden")
    ledger, inputs = staging.add("ledger.npz", b"answers"), staging.add("ledger-inputs.npz", b"rows")
    return msgspec.structs.replace(
        plain,
        members=members,
        golden=msgspec.structs.replace(plain.golden, sha256=golden.sha256, bytes=golden.bytes),
        ledger=LedgerFile(file=ledger.file, sha256=ledger.sha256, bytes=ledger.bytes, inputs=inputs),
    )


def test_a_ledger_is_published_verified_and_read(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with repository.stage("digits") as staging:
        staging.publish(staged(staging, 1))
    version = repository.open("digits", 1)
    verify(version)
    assert version.manifest.ledger is not None
    assert version.read(version.manifest.ledger.file) == b"answers"
    (tmp_path / "digits" / "1" / "ledger-inputs.npz").write_bytes(b"ROWS")
    with pytest.raises(IntegrityError, match=r"digits/1/ledger-inputs\.npz has sha256"):
        verify(version)


def test_a_ledger_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    with Repository(tmp_path).stage("digits") as staging:
        made = staged(staging, 1)
        assert made.ledger is not None
        with pytest.raises(IntegrityError, match=r"'ledger-inputs\.npz' was added but is not named"):
            staging.publish(msgspec.structs.replace(made, ledger=msgspec.structs.replace(made.ledger, inputs=None)))
