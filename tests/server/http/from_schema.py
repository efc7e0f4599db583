"""Values that a JSON Schema of the OpenAPI document accepts: of the keywords that it uses."""

from __future__ import annotations

from typing import Any

import jsonschema
from hypothesis import strategies as st

Schema = dict[str, Any]

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=4), each, max_size=3),
    max_leaves=8,
)
KINDS = ["null", "boolean", "integer", "number", "string", "array", "object"]


def values_of(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema accepts; references are looked up in `root`."""
    whole = {**schema, "components": root["components"]}
    return _values(schema, root).filter(jsonschema.Draft202012Validator(whole).is_valid)


def _values(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _values(found, root)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            rest = {key: value for key, value in schema.items() if key != choice}
            return st.one_of([_values(_both(rest, each), root) for each in schema[choice]])
    kinds = schema.get("type", KINDS if schema else None)
    if kinds is None:
        return ANYTHING
    return st.one_of([_of_kind(kind, schema, root) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _both(one: Schema, other: Schema) -> Schema:
    """Two schemas of an object as one, as far as they do not speak of the same."""
    properties = {**one.get("properties", {})}
    for name, schema in other.get("properties", {}).items():
        properties[name] = {**properties.get(name, {}), **schema}
    required = [*one.get("required", []), *other.get("required", [])]
    return {**one, **other, "properties": properties, "required": required}


def _of_kind(kind: str, schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", 4)
        return st.lists(_values(schema.get("items", {}), root), min_size=least, max_size=max(least, min(most, 4)))
    if kind == "object":
        properties = {name: _values(each, root) for name, each in schema.get("properties", {}).items()}
        needed = {name: values for name, values in properties.items() if name in schema.get("required", ())}
        known = st.fixed_dictionaries(
            needed, optional={name: values for name, values in properties.items() if name not in needed}
        )
        further = schema.get("additionalProperties", {})
        more = st.dictionaries(st.text(max_size=4), _values(further, root), max_size=2)
        return st.builds(lambda first, second: {**second, **first}, known, more)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(schema.get("minimum", -(2**70)), 2**70) | st.integers(0, 9),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "string": st.from_regex(schema["pattern"]) if "pattern" in schema else st.text(max_size=12),
    }
    return simple[kind]
