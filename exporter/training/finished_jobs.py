"""Finished jobs on the disk, by digest, so that an export that was interrupted can go on."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import msgspec
import numpy as np

from exporter.errors import ExportError
from exporter.gate.parity import Parity
from exporter.members.base import ExtraGraph
from exporter.optimisation.curve import Curve
from exporter.optimisation.loop import Exchanged
from exporter.optimisation.state import Begun
from exporter.training.jobs import Made
from model_repo.format.manifest import Kind


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    parity: Parity
    seconds: float
    heads: tuple[str, ...] = ()
    extras: tuple[ExtraGraph, ...] = ()
    figures: dict[str, float] = {}
    begun: tuple[Begun, ...] = ()
    curves: tuple[Curve, ...] = ()
    processor_seconds: float = 0.0
    exchanged: Exchanged = msgspec.field(default_factory=Exchanged)
    worker: str = ""
    joint: tuple[str, ...] = ()


class WorkFolder:
    """A folder with one file per finished job. Several exports may share it: names are digests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, digest: str) -> Made | None:
        """The result that was saved under the digest; None when there is none or it is damaged."""
        try:
            # Opened here: numpy leaves a file open that turns out to be no archive.
            with self._file(digest).open("rb") as stream, np.load(stream, allow_pickle=False) as found:
                facts = msgspec.json.decode(found["facts"].tobytes(), type=_Facts)
                return Made(
                    found["onnx"].tobytes(), facts.kind, found["held"], found["outputs"], facts.parity, facts.seconds,
                    facts.heads, extras=facts.extras, figures=facts.figures,
                    parameters=found["parameters"].tobytes(), begun=facts.begun, curves=facts.curves,
                    processor_seconds=facts.processor_seconds, exchanged=facts.exchanged, worker=facts.worker,
                    joint=facts.joint,
                )  # fmt: skip
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError):
            return None  # a half-written file of a killed export: train again

    def save(self, digest: str, made: Made) -> None:
        """Write a result; it appears whole or not at all. Raises ExportError when the folder cannot be written."""
        facts = _Facts(
            kind=made.kind, parity=made.parity, seconds=made.seconds, heads=made.heads, extras=made.extras,
            figures=dict(made.figures), begun=made.begun, curves=made.curves,
            processor_seconds=made.processor_seconds, exchanged=made.exchanged, worker=made.worker,
            joint=made.joint,
        )  # fmt: skip
        buffer = io.BytesIO()
        np.savez(
            buffer,
            onnx=np.frombuffer(made.onnx, dtype=np.uint8),
            held=made.held,
            outputs=made.outputs,
            parameters=np.frombuffer(made.parameters, dtype=np.uint8),
            facts=np.frombuffer(msgspec.json.encode(facts), dtype=np.uint8),
        )
        target = self._file(digest)
        partial = target.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(buffer.getvalue())
            partial.replace(target)
        except OSError as error:
            raise ExportError(f"work folder {self.folder}: {error.strerror}") from error

    def note(self, digest: str, text: str) -> Path:
        """Write down why a job gave nothing, for who looks for it; the file's path. Raises ExportError."""
        target = self.folder / f"{digest}.error.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ExportError(f"work folder {self.folder}: {error.strerror}") from error
        return target

    def forget(self, digest: str) -> None:
        """Remove what was kept of a job while it ran; it is finished."""
        shutil.rmtree(self.folder / digest, ignore_errors=True)

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.npz"
