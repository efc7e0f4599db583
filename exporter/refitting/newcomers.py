"""New members, and the rows that they answer: those that no member of the ensemble was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from exporter.data.dataset import Array, Rows
from exporter.errors import BundleError, LedgerError
from exporter.foreign.objects.gate import pass_gate
from exporter.foreign.objects.member import Brought, Said
from exporter.fusing.ledger import Ledger
from exporter.fusing.ledger_file import LedgerTest
from exporter.gate.parity import Parity
from exporter.recipe.recipe import Recipe, converted
from exporter.recipe.sources import Dataset, Split, clean, split
from exporter.refitting.published import Published


@dataclass(frozen=True)
class Newcomer:
    """A member to be: its ONNX file and what the user says of it."""

    path: Path
    said: Said = field(default_factory=Said)
    parameters: bytes = field(default=b"", repr=False)
    """What the version is to keep of its training."""


@dataclass(frozen=True)
class Asked:
    """The rows that a new member answers, as clients send them: fusion rows and test rows of the ledger."""

    fusion: dict[str, Array]
    test: dict[str, Array]


def rows_to_answer(published: Published, data: Path | None) -> Asked | None:
    """The rows that the version keeps, or, with `data`, those that its recipe loads again.

    None where there are neither. Raises DataError, and LedgerError where the data is other than it was.
    """
    if data is None:
        kept = published.rows()
        return None if kept is None else Asked(*kept)
    _, dataset, parts = loaded_again(published, data)
    found = []
    for part in (parts.fusion, parts.test):
        rows = dataset.rows.take(part).inputs
        found.append({entry.name: rows[entry.name] for entry in dataset.inputs})
    return Asked(*found)


def loaded_again(published: Published, data: Path | None) -> tuple[Recipe, Dataset, Split]:
    """The recipe that the version was exported from, its data and its split.

    Raises DataError, and LedgerError where there is no recipe or the data is other than it was.
    """
    provenance = published.manifest.provenance
    if "recipe" not in provenance:
        raise LedgerError(f"{published.where} was not exported from a recipe, so --data cannot be loaded by it")
    recipe = converted(provenance["recipe"], f"recipe of {published.where}")
    dataset, _ = clean(recipe.data.load(data), recipe.data.on_bad_rows)
    parts = split(dataset.rows, recipe.split, recipe.seed, dataset.classes)
    dataset = recipe.data.prepare(dataset, parts, recipe.seed)
    if dataset.digest != provenance.get("data", {}).get("sha256"):
        given = "its data" if data is None else f"--data {data}"
        raise LedgerError(f"{given}: is not what {published.where} was exported from: another digest")
    return recipe, dataset, parts


def welcomed(
    published: Published, newcomers: Mapping[str, Newcomer], asked: Asked, ledger: Ledger
) -> dict[str, tuple[Brought, Parity]]:
    """Each new member, after the gate: classes by name, the same answers in every batch size and length.

    Raises BundleError, ParityError, LedgerError.
    """
    fusion = published.derived(asked.fusion)
    own = np.flatnonzero(ledger.fold == -1)
    count = len(next(iter(fusion.values())))
    if count != len(own):
        raise LedgerError(f"the ledger has {len(own)} fusion rows, {count} are kept beside it")
    rows = Rows.of(fusion, ledger.target[own])
    dataset = published.dataset(rows)
    found = {}
    for name, newcomer in newcomers.items():
        try:
            member, parity = pass_gate(name, newcomer.path, newcomer.said, (), published.wiring(), dataset, rows)
            found[name] = replace(member, part=replace(member.part, parameters=newcomer.parameters)), parity
        except BundleError as error:
            if "which column is which class" in str(error):
                hint = f"its graph does not say which column is which class: --classes-of {name}=A,B,…"
                raise BundleError(error.subject, [f"{hint}, in the order of its columns"]) from error
            raise
    return found


def joined(ledger: Ledger, test: LedgerTest, members: Mapping[str, Brought], answers: Mapping[str, tuple[Array, Array]]
           ) -> tuple[Ledger, LedgerTest]:  # fmt: skip
    """The ledger of these members, in this order: known answers as they are, new ones where they are honest.

    `answers` of new members are those to the fusion rows and to the test rows; to rows of the folds a new member has
    none, for nobody knows whether it was trained on them.
    """
    place = {name: k for k, name in enumerate(ledger.members)}
    own = ledger.fold == -1
    outputs, tested = [], []
    for name in members:
        if name in answers:
            fusion, seen = answers[name]
            output = np.full((len(own), fusion.shape[1]), np.nan, dtype=np.float32)
            output[own] = fusion
            outputs.append(output)
            tested.append(seen)
        else:
            outputs.append(ledger.outputs[place[name]])
            tested.append(test.outputs[place[name]])
    kinds = tuple(member.part.entry.kind for member in members.values())
    whole = Ledger(tuple(members), kinds, ledger.rows, ledger.target, ledger.fold, tuple(outputs))
    return whole, LedgerTest(test.rows, test.target, test.group, tuple(tested))


def answered(ledger: Ledger) -> Ledger:
    """The rows that every member has answered. Raises LedgerError where there is none."""
    known = np.logical_and.reduce([np.isfinite(output).all(axis=1) for output in ledger.outputs])
    if not known.any():
        raise LedgerError("no row was answered by every member: members added at different times share no rows")
    index = np.flatnonzero(known)
    return Ledger(
        ledger.members, ledger.kinds, ledger.rows[index], ledger.target[index], ledger.fold[index],
        tuple(output[index] for output in ledger.outputs),
    )  # fmt: skip
