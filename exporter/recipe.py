"""A recipe: what to train on what, and how to fuse it. TOML in, frozen structs out, every mistake named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from exporter.data import DataSpec, SplitSpec
from exporter.errors import RecipeError
from exporter.families import FAMILIES, MemberSpec
from exporter.families.base import Spec
from exporter.fusing.names import RuleName
from model_repo.manifest import Batching, Name, Task

PRESETS = ("fast", "balanced", "best")
DEFAULT_PRESET = "balanced"
"""What the tables of a recipe say by themselves; a preset of this name may still refine it."""

MAX_BYTES = 1 << 20


class FusionSpec(Spec, frozen=True, kw_only=True):
    """Which rules are fitted, and which is published."""

    rules: Annotated[tuple[RuleName, ...], Meta(min_length=1)] = (
        "geometric", "stacked", "weighted", "greedy", "mean", "median", "vote",
    )  # fmt: skip
    """In order of trust: of rules that do as well on validation the first is published."""
    publish: RuleName | Literal["auto"] = "auto"
    quorum: Annotated[int, Meta(ge=1)] = 1
    """Fewest members that may answer a request."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] | None = 0.1
    """Conformal sets hold the true class with at least this much less than certainty; absent: no sets."""


class Acceptance(Spec, frozen=True, kw_only=True):
    """What the published rule must reach on the test split; nothing is published otherwise."""

    accuracy: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    best_single: bool = True
    """Its log-loss is not above any single member's."""
    enforce: bool = True
    """False: say so in the report, and publish all the same."""


class Recipe(Spec, frozen=True, kw_only=True):
    """Everything that an export depends on besides the data and the libraries' versions."""

    name: Name
    """Of the ensemble that is published."""
    task: Task
    description: str = ""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    data: DataSpec
    split: SplitSpec = SplitSpec()
    members: dict[Name, MemberSpec]
    fusion: FusionSpec = FusionSpec()
    acceptance: Acceptance = Acceptance()
    batching: Batching = Batching()


def read_recipe(path: Path, preset: str = DEFAULT_PRESET, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file under a preset, with `key=value` overrides on top. Raises RecipeError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"recipe {path}", [f"cannot be read: {error.strerror}"]) from error
    if len(data) > MAX_BYTES:
        raise RecipeError(f"recipe {path}", [f"has more than {MAX_BYTES} bytes"])
    return parse_recipe(data, str(path), preset, overrides)


def parse_recipe(data: bytes, subject: str, preset: str = DEFAULT_PRESET, overrides: Sequence[str] = ()) -> Recipe:
    """The same from bytes; `subject` names them in messages."""
    subject = f"recipe {subject}"
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(subject, [f"is not TOML: {error}"]) from error
    presets = table.pop("presets", {})
    _check_presets(presets, preset, subject)
    recipe = _converted(table, subject)
    for name in sorted(presets):  # all of them: a mistake in a preset is found before somebody needs it
        changed = _converted(merged(table, presets[name]), f"{subject}, preset {name}")
        recipe = changed if name == preset else recipe
    tree = merged(table, presets.get(preset, {}))
    for override in overrides:
        tree = overridden(tree, override)
        recipe = _converted(tree, f"--set {override}")
    if problems := list(_problems(recipe)):
        raise RecipeError(subject, problems)
    return recipe


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the tables of `changes` merged in and its other values replaced; neither is touched."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def overridden(tree: Mapping[str, Any], override: str) -> dict[str, Any]:
    """`tree` with one `dotted.key=value` applied; a value that is not TOML is taken as text. Raises RecipeError."""
    key, equals, text = override.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise RecipeError(f"--set {override}", ["expected key=value, as in --set members.cnn.training.epochs=10"])
    change: Any = _value(text.strip())
    for part in reversed(path):
        change = {part: change}
    return merged(tree, change)


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text


def _check_presets(presets: Any, preset: str, subject: str) -> None:
    if preset not in PRESETS:
        raise RecipeError(f"--preset {preset}", [f"expected one of {', '.join(PRESETS)}"])
    if not isinstance(presets, dict):
        raise RecipeError(subject, ["presets is no table"])
    for name, changes in presets.items():
        if name not in PRESETS:
            raise RecipeError(subject, [f"presets.{name} is unknown, expected one of {', '.join(PRESETS)}"])
        if not isinstance(changes, dict):
            raise RecipeError(subject, [f"presets.{name} is no table"])


def _converted(tree: Mapping[str, Any], subject: str) -> Recipe:
    members = tree.get("members")
    if isinstance(members, dict):
        # One by one: msgspec does not say in which of a table's entries a mistake is.
        specs = {name: _member(name, table, subject) for name, table in members.items()}
        tree = {**tree, "members": {name: msgspec.to_builtins(spec) for name, spec in specs.items()}}
    try:
        return msgspec.convert(tree, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(subject, [_plain(str(error))]) from error


def _member(name: str, table: Any, subject: str) -> MemberSpec:
    """A member, over its family's own defaults: a changed number of epochs must not reset the learning rate."""
    family = FAMILIES.get(str(table.get("family"))) if isinstance(table, dict) else None
    if family is not None:
        table = merged(msgspec.to_builtins(family()), table)
    try:
        spec: MemberSpec = msgspec.convert(table, MemberSpec)
    except msgspec.ValidationError as error:
        problem = _plain(str(error), f"members.{name}")
        if problem.endswith("missing required field `family`") or ".family: invalid value" in problem:
            problem += f"; the families are {', '.join(sorted(FAMILIES))}"
        elif problem.startswith(f"members.{name}: object contains unknown field") and family is not None:
            problem += f"; its keys are {', '.join(family.__struct_fields__)}"
        raise RecipeError(subject, [problem]) from error
    return spec


def _plain(message: str, where: str = "") -> str:
    """msgspec's message with the key first: "members.cnn.width: expected `int`, got `str`"."""
    text, _, path = message.rpartition(" - at `$") if " - at `$" in message else (message, "", "")
    key = (where + path.rstrip("`")).lstrip(".") or "the recipe"
    return f"{key}: {text[:1].lower()}{text[1:]}"


def _problems(recipe: Recipe) -> Iterator[str]:
    if recipe.task != "classification":
        yield f"task is {recipe.task!r}, recipes train classifications"
    if not recipe.members:
        yield "members is empty, expected at least one"
    if recipe.fusion.quorum > len(recipe.members) > 0:
        yield f"fusion.quorum is {recipe.fusion.quorum}, more than the {len(recipe.members)} members"
    if recipe.fusion.publish != "auto" and recipe.fusion.publish not in recipe.fusion.rules:
        yield f"fusion.publish is {recipe.fusion.publish!r}, which is not among fusion.rules"
    if len(set(recipe.fusion.rules)) < len(recipe.fusion.rules):
        yield "fusion.rules names a rule more than once"
    if recipe.split.folds == 1:
        yield "split.folds is 1, expected 0 (fusion rows alone) or at least 2"
    if recipe.split.test + recipe.split.fusion >= 1:
        yield f"split.test and split.fusion together are {recipe.split.test + recipe.split.fusion:g}, expected under 1"
