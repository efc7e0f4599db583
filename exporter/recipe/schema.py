"""The JSON Schema of recipes, for editors that complete and check TOML (`tutti export --schema`)."""

from __future__ import annotations

from typing import Any

import msgspec

from exporter.detectors import DETECTORS
from exporter.recipe.families import FAMILIES
from exporter.recipe.recipe import PRESETS, Head
from exporter.recipe.sources import SOURCES

_REF = "#/$defs/{name}"


def recipe_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a recipe, its tables as nested objects.

    Data and members go together: for each kind of rows the sources that give them and the families that take them.
    A preset is any part of a recipe, so its tables are not checked here; `tutti export` does.
    """
    sources = list(SOURCES.values())
    families = [family for known in FAMILIES.values() for family in known.values()]
    detectors = list(DETECTORS.values())
    refs, definitions = msgspec.json.schema_components([Head, *sources, *families, *detectors], ref_template=_REF)
    head = definitions.pop(refs[0]["$ref"].rsplit("/", 1)[1])
    of_source = dict(zip(sources, refs[1:], strict=False))
    of_family = dict(zip(families, refs[1 + len(sources) :], strict=False))
    of_detector = refs[len(refs) - len(detectors) :]
    domains = [
        {
            "title": f"{domain} data",
            "properties": {
                "data": {"oneOf": [of_source[source] for source in sources if source.domain == domain]},
                "members": {"additionalProperties": {"oneOf": [of_family[family] for family in known.values()]}},
            },
        }
        for domain, known in FAMILIES.items()
        if any(source.domain == domain for source in sources)
    ]
    presets = {name: {"type": "object"} for name in PRESETS}
    schema: dict[str, Any] = _portable(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A recipe of tutti export",
            "type": "object",
            "properties": {
                **head["properties"],
                "data": {"type": "object"},
                "members": {"type": "object", "minProperties": 1},
                "detectors": {"type": "object", "additionalProperties": {"oneOf": list(of_detector)}},
                "presets": {"type": "object", "properties": presets, "additionalProperties": False},
            },
            "required": [*head["required"], "data", "members"],
            "additionalProperties": False,
            "oneOf": domains,
            "$defs": definitions,
        }
    )
    return schema


def _portable(tree: Any) -> Any:
    """The same as JSON has it: patterns with `$` for Python's end of text, defaults that are tuples as arrays."""
    if isinstance(tree, dict):
        return {
            key: value.replace("\\Z", "$") if key == "pattern" and isinstance(value, str) else _portable(value)
            for key, value in tree.items()
        }
    return [_portable(entry) for entry in tree] if isinstance(tree, list | tuple) else tree
