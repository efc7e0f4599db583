"""What a published version holds, opened for a fit: members with sessions, ledger, golden rows, tokenizers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from exporter.bundle import SidePart
from exporter.data.dataset import Array, Dataset, Rows, TokenizerFile
from exporter.errors import LedgerError
from exporter.foreign.objects.member import Brought, Wiring, opened
from exporter.fusing.ledger import Ledger
from exporter.fusing.ledger_file import LedgerTest, read_answers
from exporter.recipe.recipe import Acceptance, FusionSpec, Head
from model_repo import Detector, Extra, Input, Manifest, Version
from model_repo.format.paths import external_path
from server.runtime.answer.tokenizers import Tokenizing
from server.runtime.golden.golden_rows import INPUT_PREFIX


@dataclass(frozen=True)
class Published:
    """A version and what is read of it as it is needed. Raises IntegrityError where a file is not what it was."""

    version: Version

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.version.manifest

    @property
    def where(self) -> str:
        """`name/version`."""
        return f"{self.version.name}/{self.version.version}"

    def member(self, name: str) -> Brought:
        """The member with its session."""
        entry = next(each for each in self.manifest.members if each.name == name)
        external: dict[str, Path] = {}
        for file in entry.external:
            path = external_path(entry, file)
            self.version.check(path)
            external[file.file] = self.version.root / self.version.name / str(self.version.version) / path
        found = opened(entry, self.version.read(entry.file), external, self.manifest.classes, self.manifest.columns)
        kept = b"" if entry.parameters is None else self.version.read(entry.parameters.file)
        return replace(found, part=replace(found.part, parameters=kept))

    def ledger(self, path: Path | None) -> tuple[Ledger, LedgerTest]:
        """The version's own ledger, or the one in the file. Raises LedgerError unless it is of these members."""
        if path is not None:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise LedgerError(f"ledger {path}: {error.strerror}") from error
        elif self.manifest.ledger is None:
            raise LedgerError(f"{self.where} has no ledger: export it again, or name the report's ledger.npz")
        else:
            data = self.version.read(self.manifest.ledger.file)
        ledger, test = read_answers(data)
        members = tuple(member.name for member in self.manifest.members)
        if ledger.members != members:
            raise LedgerError(
                f"the ledger is of the members {', '.join(ledger.members)}, {self.where} has {', '.join(members)}"
            )
        return ledger, test

    def rows(self) -> tuple[dict[str, Array], dict[str, Array]] | None:
        """The fusion rows and the test rows as clients send them; None where the version does not keep them."""
        from exporter.fusing.ledger_file import read_inputs

        kept = self.manifest.ledger
        return None if kept is None or kept.inputs is None else read_inputs(self.version.read(kept.inputs.file))

    def golden_answers(self) -> Array:
        """The fused answers to the golden rows, [rows, C]."""
        return self._golden_arrays()["fused"]

    def _golden_arrays(self) -> dict[str, Array]:
        with np.load(io.BytesIO(self.version.read(self.manifest.golden.file)), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    def golden(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The golden rows as clients send them, and what detectors and extras gave for them."""
        arrays = self._golden_arrays()
        feeds = {
            entry.name: _texts(arrays[INPUT_PREFIX + entry.name]) if entry.datatype == "BYTES"
            else arrays[INPUT_PREFIX + entry.name]
            for entry in self.manifest.inputs
        }  # fmt: skip
        beside = {
            name: array for name, array in arrays.items()
            if name not in ("members", "fused") and not name.startswith(INPUT_PREFIX)
        }  # fmt: skip
        return feeds, beside

    def derived(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs with the tensors that the server makes of them."""
        return dict(Tokenizing.open(self.version)(dict(inputs)))

    def tokenizers(self) -> tuple[TokenizerFile, ...]:
        """Its tokenizers with their files."""
        return tuple(TokenizerFile(entry, self.version.read(entry.file)) for entry in self.manifest.tokenizers)

    def side(self) -> tuple[SidePart, ...]:
        """Its detectors and extras. Raises LedgerError for one with external weights."""
        beside: list[Detector | Extra] = [*self.manifest.detectors, *self.manifest.extras]
        for entry in beside:
            if entry.external:
                raise LedgerError(f"{entry.name!r} of {self.where} has external weights, which a refit does not carry")
        return tuple(SidePart(entry, self.version.read(entry.file)) for entry in beside)

    def dataset(self, rows: Rows) -> Dataset:
        """The rows as a data set of this ensemble: what the parity gate needs to know."""
        manifest = self.manifest
        return Dataset(
            rows=rows,
            classes=manifest.classes,
            inputs=manifest.inputs,
            task=manifest.task,
            value_shape=manifest.value_shape,
            unique=False,
            derived=self.wiring().tensors[len(manifest.inputs) :],
            tokenizers=self.tokenizers(),
        )

    def wiring(self) -> Wiring:
        """What a new member has to fit."""
        made = tuple(
            Input(name=each.name, datatype="INT64", shape=(-1, -1) if each.stride is None else (-1, -1, -1))
            for each in self.manifest.tokenizers
        )
        manifest = self.manifest
        return Wiring(manifest.classes, manifest.inputs + made, manifest.task == "multilabel", manifest.value_shape)

    def head(self) -> Head:
        """What the recipe says of fusion, seed and batching, or the defaults where no recipe is kept."""
        manifest, recipe = self.manifest, self.manifest.provenance.get("recipe", {})
        fusion = msgspec.structs.replace(_converted(recipe.get("fusion", {}), FusionSpec), keep=self._keep())
        return Head(
            name=manifest.name,
            task=manifest.task,
            description=manifest.description,
            seed=int(recipe.get("seed", self.manifest.provenance.get("seed", 0))),
            fusion=msgspec.structs.replace(fusion, quorum=manifest.quorum),
            acceptance=Acceptance(),
            batching=manifest.batching,
        )

    def _keep(self) -> Literal["useful", "all"]:
        """What was last said of it; versions that say nothing were made when every member was published."""
        provenance = self.manifest.provenance
        recipe = provenance.get("recipe", {}).get("fusion", {})
        for said in (provenance.get("refit", {}), provenance, recipe):
            if "keep" in said:
                return "useful" if said["keep"] == "useful" else "all"
        return "all"


def _converted(table: Any, kind: type[FusionSpec]) -> FusionSpec:
    """The table, or the defaults where it is another version's."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError:
        return kind()


def _texts(array: Array) -> Array:
    return (array if array.dtype.kind == "U" else np.char.decode(array, "utf-8")).astype(np.object_)
