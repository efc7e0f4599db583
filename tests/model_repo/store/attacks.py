"""Hostile versions: each spoils one published version, digits/1, in a way that must be refused.

`file` is what a reader then asks for; the message says what is wrong with it, and for a spoilt manifest
opening the version already fails. None may make a reader hang, follow a link or read a byte from outside.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_repo import ManifestError, RepositoryError, UnsafePathError

CNN = "members/cnn.onnx"
MANIFEST = "ensemble.json"


@dataclass(frozen=True)
class Attack:
    """How `version` (its folder) is spoilt, given a folder `outside` with a copy of it."""

    name: str
    spoil: Callable[[Path, Path], object]
    message: str
    error: type[RepositoryError] = UnsafePathError
    file: str = CNN


def _replace_by_link(path: Path, target: Path) -> None:
    path.rename(path.with_name(path.name + ".moved"))
    path.symlink_to(target)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _hard_link(path: Path, target: Path) -> None:
    path.unlink()
    os.link(target, path)


def _listening(path: Path) -> None:
    # Bound by its short relative name: a socket's path may have 107 bytes only.
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def _rename_in_manifest(version: Path, new: str) -> None:
    manifest = version / MANIFEST
    manifest.write_text(manifest.read_text().replace(CNN, new))


def _nest(version: Path, levels: int) -> None:
    manifest = version / MANIFEST
    text = manifest.read_text().rstrip().removesuffix("}")
    manifest.write_text(text + ', "report": {"a": ' + "[" * levels + "]" * levels + "}}")


def _swap_for_file(version: Path) -> None:
    members = version / "members"
    members.rename(version / "moved")
    members.write_bytes(b"a file where a folder was")


ATTACKS = [
    Attack("a file is a link to outside", lambda v, o: _replace_by_link(v / CNN, o / CNN),
           "digits/1/members/cnn.onnx is a symbolic link, expected a file"),
    Attack("a file is a link to inside", lambda v, o: _replace_by_link(v / CNN, v / "members/rf.onnx"),
           "digits/1/members/cnn.onnx is a symbolic link, expected a file"),
    Attack("a file is a dangling link", lambda v, o: _replace_by_link(v / CNN, v / "nowhere"),
           "digits/1/members/cnn.onnx is a symbolic link, expected a file"),
    Attack("a file is a link to itself", lambda v, o: _replace_by_link(v / CNN, v / CNN),
           "digits/1/members/cnn.onnx is a symbolic link, expected a file"),
    Attack("the members' folder is a link", lambda v, o: _replace_by_link(v / "members", o / "members"),
           "digits/1/members is a symbolic link, expected a folder"),
    Attack("the version is a link", _replace_by_link,
           "digits/1 is a symbolic link, expected a folder", file=MANIFEST),
    Attack("the ensemble is a link", lambda v, o: _replace_by_link(v.parent, o.parent),
           "digits is a symbolic link, expected a folder", file=MANIFEST),
    Attack("the manifest is a link", lambda v, o: _replace_by_link(v / MANIFEST, o / MANIFEST),
           "digits/1/ensemble.json is a symbolic link, expected a file", file=MANIFEST),
    Attack("the golden rows are a link", lambda v, o: _replace_by_link(v / "golden.npz", o / "golden.npz"),
           "digits/1/golden.npz is a symbolic link, expected a file", file="golden.npz"),
    Attack("a file has a second name", lambda v, o: _hard_link(v / CNN, o / CNN),
           "digits/1/members/cnn.onnx has 2 names (hard links), expected one"),
    Attack("the manifest has a second name", lambda v, o: _hard_link(v / MANIFEST, o / MANIFEST),
           "digits/1/ensemble.json has 2 names (hard links), expected one", file=MANIFEST),
    Attack("a file is a pipe", lambda v, o: _replace(v / CNN, os.mkfifo),
           "digits/1/members/cnn.onnx is a pipe, expected a file"),
    Attack("the manifest is a pipe", lambda v, o: _replace(v / MANIFEST, os.mkfifo),
           "digits/1/ensemble.json is a pipe, expected a file", file=MANIFEST),
    Attack("a file is a socket", lambda v, o: _replace(v / CNN, _listening),
           "digits/1/members/cnn.onnx is a socket, expected a file"),
    Attack("a file is a device", lambda v, o: _replace_by_link(v / CNN, Path("/dev/zero")),
           "digits/1/members/cnn.onnx is a symbolic link, expected a file"),
    Attack("a file is a folder", lambda v, o: _replace(v / CNN, Path.mkdir),
           "digits/1/members/cnn.onnx is a folder, expected a file"),
    Attack("the manifest is a folder", lambda v, o: _replace(v / MANIFEST, Path.mkdir),
           "digits/1/ensemble.json is a folder, expected a file", file=MANIFEST),
    Attack("the members' folder is a file", lambda v, o: _swap_for_file(v),
           "digits/1/members is a file, expected a folder"),
    Attack("a path upwards", lambda v, o: _rename_in_manifest(v, "../../../secret"),
           "ensemble.json of digits/1: file '../../../secret' contains '..'", ManifestError, MANIFEST),
    Attack("a path down and up again", lambda v, o: _rename_in_manifest(v, "members/../../2/x"),
           "ensemble.json of digits/1: file 'members/../../2/x' contains '..'", ManifestError, MANIFEST),
    Attack("an absolute path", lambda v, o: _rename_in_manifest(v, "/etc/passwd"),
           "ensemble.json of digits/1: file '/etc/passwd' is absolute", ManifestError, MANIFEST),
    Attack("a backslash", lambda v, o: _rename_in_manifest(v, "members\\\\..\\\\x"),
           "ensemble.json of digits/1: file 'members\\\\..\\\\x' contains a backslash", ManifestError, MANIFEST),
    Attack("a NUL", lambda v, o: _rename_in_manifest(v, "members/\\u0000x"),
           "ensemble.json of digits/1: file 'members/\\x00x' contains a character that cannot be printed",
           ManifestError, MANIFEST),
    Attack("a newline", lambda v, o: _rename_in_manifest(v, "members/\\nx"),
           "ensemble.json of digits/1: file 'members/\\nx' contains a character that cannot be printed",
           ManifestError, MANIFEST),
    Attack("a hidden file", lambda v, o: _rename_in_manifest(v, "members/.x"),
           "ensemble.json of digits/1: file 'members/.x' contains a component that starts with '.'",
           ManifestError, MANIFEST),
    Attack("an empty component", lambda v, o: _rename_in_manifest(v, "members//x"),
           "ensemble.json of digits/1: file 'members//x' contains an empty component or '.'", ManifestError, MANIFEST),
    Attack("this folder", lambda v, o: _rename_in_manifest(v, "./members/x"),
           "ensemble.json of digits/1: file './members/x' contains an empty component or '.'", ManifestError, MANIFEST),
    Attack("no path", lambda v, o: _rename_in_manifest(v, ""),
           "ensemble.json of digits/1: file '' is empty", ManifestError, MANIFEST),
    Attack("a long component", lambda v, o: _rename_in_manifest(v, "x" * 256),
           f"ensemble.json of digits/1: file '{'x' * 61}'... contains a component longer than 255 bytes",
           ManifestError, MANIFEST),
    Attack("a long path", lambda v, o: _rename_in_manifest(v, "x/" * 600 + "x"),
           f"ensemble.json of digits/1: file '{('x/' * 31)[:61]}'... is longer than 1024 bytes",
           ManifestError, MANIFEST),
    Attack("a manifest nested deeply", lambda v, o: _nest(v, 100_000),
           "ensemble.json of digits/1: is nested too deeply", ManifestError, MANIFEST),
    Attack("a manifest of a terabyte", lambda v, o: os.truncate(v / MANIFEST, 10**12),
           "ensemble.json of digits/1: has 1000000000000 bytes, the limit is 16777216", ManifestError, MANIFEST),
]  # fmt: skip
