"""A recipe: what to train on what, and how to fuse it. TOML in, frozen structs out, every mistake named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from exporter.detectors import DETECTORS, DetectorFamily
from exporter.errors import RecipeError
from exporter.members.base import Family, names_of
from exporter.optimisation.spec import Mode, Parallel, Spec
from exporter.recipe.families import FAMILIES
from exporter.recipe.joint import joint_problems, together
from exporter.recipe.lineage import Aggregate, lineage_problems
from exporter.recipe.rule_names import REGRESSION_RULES, RuleName
from exporter.recipe.sources import SOURCES, Domain, Source, SplitSpec
from exporter.scoring.objective import DEFAULT_METRIC, METRICS_OF, MetricName, Objective
from model_repo.expectation import explained
from model_repo.format.manifest import Batching, Name, Task
from model_repo.format.paths import is_name
from model_repo.wording import did_you_mean, listed, name_problem, repeated

PRESETS = ("fast", "balanced", "best")
DEFAULT_PRESET = "balanced"
"""What the tables of a recipe say by themselves; a preset of this name may still refine it."""

MAX_BYTES = 1 << 20

_TABLES = ("data", "members", "detectors")
"""What `Head` does not hold: tables whose keys depend on their `source` or `family`."""

Part = TypeVar("Part", bound=msgspec.Struct)


class FusionSpec(Spec, frozen=True, kw_only=True):
    """Which rules are fitted, and which is published."""

    rules: Annotated[tuple[RuleName, ...], Meta(min_length=1)] | None = None
    """In order of trust: of rules that do as well on validation the first is published. Absent: all of the task's."""
    publish: RuleName | Literal["auto"] = "auto"
    metric: MetricName | None = None
    """What weights and rules are fitted for; absent: log_loss for classes, rmse for values."""
    quorum: Annotated[int, Meta(ge=1)] = 1
    """Fewest members that may answer a request."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] | None = 0.1
    """Conformal sets hold the true class with at least this much less than certainty; absent: no sets."""
    keep: Literal["useful", "all"] = "useful"
    """Which members are published: the smallest set (of at least `quorum`) whose metric on validation is within one
    standard error of the best set's, or all."""
    ledger: Literal["rows", "answers", "none"] = "rows"
    """What the version keeps for `tutti refit`: members' answers to validation and test rows, with those rows
    themselves where they are small, or nothing."""


LABEL_RULES: tuple[RuleName, ...] = ("geometric", "weighted", "greedy", "mean", "median", "vote")
RULES: dict[Task, tuple[RuleName, ...]] = {
    "classification": ("geometric", "stacked", "weighted", "greedy", "mean", "median", "vote"),
    "multilabel": LABEL_RULES,
    "regression": REGRESSION_RULES,
}
"""Of the tasks that recipes train, in the default order of trust."""

BOUNDS = ("accuracy", "log_loss", "ece", "brier", "rmse", "mae", "ndcg_at_10", "micro_f1", "macro_f1")
"""The figures that may be asked for."""


class Acceptance(Spec, frozen=True, kw_only=True):
    """What the published rule must reach on the test split; nothing is published otherwise."""

    accuracy: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    brier: float | None = None
    rmse: float | None = None
    mae: float | None = None
    ndcg_at_10: float | None = None
    micro_f1: float | None = None
    macro_f1: float | None = None
    best_single: bool = True
    """Its loss (`fusion.metric`) is not above any single member's."""
    enforce: bool = True
    """False: say so in the report, and publish all the same."""


class Head(Spec, frozen=True, kw_only=True):
    """A recipe but for its data and members, whose tables depend on `source` and `family`."""

    name: Name
    """Of the ensemble that is published."""
    task: Task
    description: str = ""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    split: SplitSpec = SplitSpec()
    training: Mode = Parallel()
    fusion: FusionSpec = FusionSpec()
    aggregates: dict[Name, Aggregate] = msgspec.field(default_factory=dict)
    """Members that are averaged from others' parameters."""
    acceptance: Acceptance = Acceptance()
    batching: Batching = Batching()
    keep_parameters: Literal["auto", "version", "report", "none"] = "auto"
    """Where trained parameters are kept, as safetensors: in the version, in the report's folder, nowhere; `auto`: in
    the version unless they take more than 64 MiB."""
    ood_alpha: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """With detectors: the share of usual rows that `in_distribution` may be false for; absent: there is no gate."""

    @property
    def objective(self) -> Objective:
        """What the ensemble is fitted for."""
        metric = self.fusion.metric or DEFAULT_METRIC.get(self.task, "log_loss")
        return Objective(metric, labels=self.task == "multilabel")

    @property
    def rules(self) -> tuple[RuleName, ...]:
        """The rules that are fitted, in order of trust."""
        return self.fusion.rules or RULES.get(self.task, ())


class Recipe(Head, frozen=True, kw_only=True):
    """Everything that an export depends on besides the data and the libraries' versions."""

    data: Source
    members: dict[Name, Family]
    detectors: dict[Name, DetectorFamily] = msgspec.field(default_factory=dict)

    @property
    def voters(self) -> dict[str, Family]:
        """Every published member by its own name: a table that makes several has each of them; aggregates come last."""
        published = {name: spec for name, spec in self.members.items() if spec.publish}
        made = {name: self.members[aggregate.members[0]] for name, aggregate in self.aggregates.items()}
        return {one: spec for name, spec in published.items() for one in names_of(name, spec.heads)} | made

    @property
    def together(self) -> tuple[str, ...]:
        """The members that train jointly, one task for each fold."""
        return together(self.training, self.members)


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
    recipe = converted(table, subject)
    for name in sorted(presets):  # all of them: a mistake in a preset is found before somebody needs it
        changed = converted(merged(table, presets[name]), f"{subject}, preset {name}")
        recipe = changed if name == preset else recipe
    tree = merged(table, presets.get(preset, {}))
    for override in overrides:
        tree = overridden(tree, override)
        recipe = converted(tree, f"--set {override}")
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


def converted(tree: Mapping[str, Any], subject: str) -> Recipe:
    """The recipe of resolved tables, as a version's provenance holds them. Raises RecipeError.

    Data and members one by one: msgspec does not say in which of a table's entries a mistake is.
    """
    rest = {key: value for key, value in tree.items() if key not in _TABLES}
    if isinstance(rest.get("training"), dict):
        rest["training"] = {"mode": Parallel().mode, **rest["training"]}
    try:
        head = msgspec.convert(rest, Head)
    except msgspec.ValidationError as error:
        raise RecipeError(subject, [_plain(str(error), Head, rest, more=(*_TABLES, "presets"))]) from error
    source = _part("data", "source", tree.get("data"), SOURCES, subject)
    members = _parts("members", tree, FAMILIES[source.domain], subject)
    detectors = _parts("detectors", tree, DETECTORS, subject)
    fields = {name: getattr(head, name) for name in Head.__struct_fields__}
    return Recipe(**fields, data=source, members=members, detectors=detectors)


def member_of(domain: Domain, table: Mapping[str, Any], subject: str) -> Family:
    """The member of a table that is not of a whole recipe. Raises RecipeError."""
    return _part("the table", "family", table, FAMILIES[domain], subject)


def _parts(where: str, tree: Mapping[str, Any], known: Mapping[str, type[Part]], subject: str) -> dict[str, Part]:
    """The tables of `members` or `detectors`, told apart by `family`."""
    tables = tree.get(where, {})
    if not isinstance(tables, dict):
        raise RecipeError(subject, [f"{where}: expected a table, got {type(tables).__name__}"])
    for name in tables:
        if not is_name(name):
            raise RecipeError(subject, [name_problem(where.removesuffix("s"), name)])
    return {name: _part(f"{where}.{name}", "family", table, known, subject) for name, table in tables.items()}


def _part(where: str, tag: str, table: Any, known: Mapping[str, type[Part]], subject: str) -> Part:
    """A table that `tag` tells apart, over its own defaults: new epochs must not reset the learning rate."""
    if not isinstance(table, dict):
        told = "is missing" if table is None else f"is {type(table).__name__}"
        raise RecipeError(subject, [f"{where} {told}, expected a table with {tag!r}"])
    kind = known.get(str(table.get(tag)))
    if kind is None:
        given = repr(table[tag]) if tag in table else "missing"
        problem = f"{where}.{tag} is {given}, expected one of {', '.join(sorted(known))}"
        raise RecipeError(subject, [problem + did_you_mean(str(table.get(tag, "")), sorted(known))])
    table = merged(msgspec.to_builtins(kind()), table)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise RecipeError(subject, [_plain(str(error), kind, table, where)]) from error


def _plain(message: str, kind: Any, table: Any, where: str = "", more: Sequence[str] = ()) -> str:
    """msgspec's message in words, the key first: members.cnn.width: expected a whole number, got "wide"."""
    path, text = explained(message, kind, table, more)
    between = "." if where and path and not path.startswith("[") else ""
    return f"{where + between + path or 'the recipe'}: {text}"


def _problems(recipe: Recipe) -> Iterator[str]:
    if recipe.task not in RULES:
        yield f"task is {recipe.task!r}, recipes train {' or '.join(RULES)}"
        return
    if not recipe.members:
        yield "members is empty, expected at least one"
    alike = recipe.training.mode in ("parallel", "data_parallel")
    if found := list(
        lineage_problems(recipe.members, recipe.detectors, recipe.aggregates, alike, recipe.training.mode)
    ):
        yield from found
        return
    yield from joint_problems(recipe.training, recipe.members, recipe.task)
    voters = recipe.voters
    if recipe.fusion.quorum > len(voters) > 0:
        yield f"fusion.quorum is {recipe.fusion.quorum}, more than the {len(voters)} members"
    names = [name for table, spec in recipe.members.items() for name in names_of(table, spec.heads)]
    if twice := repeated([*names, *recipe.aggregates, *recipe.detectors]):
        yield f"members, aggregates and detectors have {listed(twice)} more than once"
    if recipe.ood_alpha is not None and not recipe.detectors:
        yield f"ood_alpha is {recipe.ood_alpha:g}, but there is no detector"
    if strange := [rule for rule in recipe.rules if rule not in RULES[recipe.task]]:
        yield f"fusion.rules has {', '.join(strange)}, a {recipe.task} takes {', '.join(RULES[recipe.task])}"
    if recipe.fusion.publish != "auto" and recipe.fusion.publish not in recipe.rules:
        yield f"fusion.publish is {recipe.fusion.publish!r}, which is not among fusion.rules"
    if len(set(recipe.rules)) < len(recipe.rules):
        yield "fusion.rules names a rule more than once"
    metric, known = recipe.objective.metric, METRICS_OF[recipe.task]
    if metric not in known:
        yield f"fusion.metric is {metric!r}, a {recipe.task} takes {', '.join(known)}"
    if recipe.split.folds == 1:
        yield "split.folds is 1, expected 0 (fusion rows alone) or at least 2"
    if recipe.split.test + recipe.split.fusion >= 1:
        yield f"split.test and split.fusion together are {recipe.split.test + recipe.split.fusion:g}, expected under 1"
