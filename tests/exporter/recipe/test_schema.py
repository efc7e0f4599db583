"""The schema of recipes takes what the exporter takes, and finds the commonest mistakes."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from exporter.cli.export import main
from exporter.recipe.catalogue import shipped
from exporter.recipe.schema import recipe_schema

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": "classification",
    "data": {"source": "digits"},
    "members": {"cnn": {"family": "cnn", "width": 8}},
}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = recipe_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_is_valid(name: str, validator: Draft202012Validator) -> None:
    recipe = tomllib.loads(shipped()[name].read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(recipe)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"seeed": 3},
        {"task": "clustering"},
        {"data": {"source": "unknown"}},
        {"members": {}},
        {"members": {"cnn": {"family": "cnn", "widht": 8}}},
        {"members": {"cnn": {"family": "cnn", "width": 0}}},
        {"members": {"m": {"family": "rnn"}}},
        {"presets": {"quick": {}}},
        {"split": {"test": 1.5}},
    ],
)
def test_a_mistake_is_found(change: dict[str, Any], validator: Draft202012Validator) -> None:
    assert validator.is_valid(RECIPE)
    assert not validator.is_valid(RECIPE | change)


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema()
