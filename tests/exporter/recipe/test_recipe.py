"""Recipes: every mistake is one line with the key, what was given and what was expected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from exporter.cli.export import main
from exporter.errors import RecipeError
from exporter.images.families import Cnn, Gru, Tree
from exporter.recipe.catalogue import find_recipe, shipped
from exporter.recipe.recipe import converted, merged, overridden, parse_recipe, read_recipe

SMALL = b"""
name = "small"
task = "classification"
[data]
source = "digits"
[members.a]
family = "gru"
[members.b]
family = "tree"
[presets.fast.members.a.training]
epochs = 3
"""


def test_a_recipe_says_what_it_says_and_the_defaults_say_the_rest() -> None:
    recipe = parse_recipe(SMALL, "small")
    assert recipe.members == {"a": Gru(), "b": Tree()}
    assert recipe.split.test == 0.3


def test_a_preset_changes_a_key_and_leaves_the_familys_other_defaults() -> None:
    member = parse_recipe(SMALL, "small", "fast").members["a"]
    assert isinstance(member, Gru)
    assert member.training == msgspec.structs.replace(Gru().training, epochs=3)


def test_an_override_wins_over_the_preset() -> None:
    recipe = parse_recipe(SMALL, "small", "fast", ["members.a.training.epochs=9", "seed=4", "members.b.trees=2"])
    a, b = recipe.members["a"], recipe.members["b"]
    assert isinstance(a, Gru)
    assert isinstance(b, Tree)
    assert (a.training.epochs, b.trees, recipe.seed) == (9, 2, 4)


def test_an_override_can_be_text_without_quotes_or_any_toml() -> None:
    recipe = parse_recipe(
        SMALL, "small", "balanced", ["members.b.algorithm=extra_trees", 'fusion.rules=["mean", "vote"]']
    )
    assert recipe.fusion.rules == ("mean", "vote")
    assert recipe.members["b"] == Tree(algorithm="extra_trees")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "members.a.training.epochs=ten",
            'members.a.training.epochs: expected a whole number of at least 1, got "ten"',
        ),
        ("members.a.training.epochs=0", "members.a.training.epochs: expected a whole number of at least 1, got 0"),
        ("members.a.hiden=3", "members.a: unknown field 'hiden'; "),
        ("members.c.width=3", "members.c.family is missing, expected one of batch_ensemble, cnn, "),
        ("members.a.family=rnn", "members.a.family is 'rnn', expected one of batch_ensemble, cnn, "),
        ("split.test=1.5", "split.test: expected a number above 0 and below 1, got 1.5"),
        ("members.a.hiden=3", "; did you mean 'hidden'? its keys are quantize, publish, hidden"),
        ("split.tset=0.3", "unknown field 'tset'; did you mean 'test'? its keys are test, fusion, golden, folds"),
        ("fusoin.keep=all", "unknown field 'fusoin'; did you mean 'fusion'? its keys are name, task, "),
        ("members.a.training.epoch=3", "unknown field 'epoch'; did you mean 'epochs'? its keys are epochs, "),
        (
            "batching.max_batch=3",
            "unknown field 'max_batch'; did you mean 'max_batch_rows'? its keys are max_batch_rows",
        ),
        ("members.a.family=gur", "members.a.family is 'gur', expected one of batch_ensemble, "),
        ("members.a.family=gur", "; did you mean gru?"),
        ("fusion.rules=['max']", "fusion.rules[0]: expected one of geometric, greedy, "),
        ("fusion.keep=usefull", 'expected one of all, useful, got "usefull"; did you mean useful?'),
        ("task=clustering", "task: expected one of classification, dense, "),
        ("seed", "expected key=value"),
        ("a..b=1", "expected key=value"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(SMALL, "small", "balanced", [override])
    assert str(caught.value).startswith(f"--set {override}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("quorum = 3", "fusion.quorum is 3, more than the 2 members"),
        ('rules = ["mean"]\npublish = "vote"', "fusion.publish is 'vote', which is not among fusion.rules"),
        ('metric = "rmse"', "fusion.metric is 'rmse', a classification takes log_loss"),
        ('rules = ["mean", "mean"]', "fusion.rules names a rule more than once"),
        ("rules = []", "fusion.rules: expected a list of at least 1 entry"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match="recipe small: ") as caught:
        parse_recipe(SMALL + f"\n[fusion]\n{change}\n".encode(), "small")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"name = ", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b'name = "x"', "the recipe: missing required field 'task'"),
        (SMALL.replace(b"presets.fast", b"presets.quick"), "presets.quick is unknown, expected one of fast"),
        (SMALL.replace(b"epochs = 3", b"epoch = 3"), "preset fast: members.a.training: unknown field 'epoch'"),
        (SMALL.replace(b'source = "digits"', b'source = "mnist"'), "data.source is 'mnist', expected one of "),
    ],
)
def test_a_broken_file_is_one_clear_line(data: bytes, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(data, "x.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(
        RecipeError, match="'digts': is no file, and the recipes are cifar10, digits-aggregated, digits-shared, digits"
    ):
        find_recipe("digts")


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_recipe_stands_under_every_preset(name: str, preset: str) -> None:
    recipe = read_recipe(shipped()[name], preset)
    assert recipe.name == name
    assert len(recipe.voters) >= 4
    # Parameters are averaged of one family's members; elsewhere an ensemble is of several kinds.
    assert len({type(spec) for spec in recipe.members.values()}) >= (1 if recipe.aggregates else 3)


def test_a_resolved_recipe_is_the_same_recipe_again() -> None:
    """It is stored in the version, so that the same export can be asked for."""
    recipe = read_recipe(find_recipe("digits"), "best", ["seed=7"])
    again = converted(msgspec.json.decode(msgspec.json.encode(recipe)), "stored")
    assert again == recipe
    assert isinstance(again.members["cnn"], Cnn)


def test_a_regression_takes_the_rules_and_metrics_of_values() -> None:
    values = SMALL.replace(b'task = "classification"', b'task = "regression"')
    assert parse_recipe(values, "values").objective.metric == "rmse"
    assert parse_recipe(values, "values").rules == ("weighted", "greedy", "mean", "median")
    assert parse_recipe(values + b'[fusion]\nmetric = "mae"\n', "values").objective.metric == "mae"
    with pytest.raises(RecipeError, match=r"fusion\.rules has vote, a regression takes weighted, greedy, mean, median"):
        parse_recipe(values + b'[fusion]\nrules = ["mean", "vote"]\n', "values")


def test_merging_changes_neither_side() -> None:
    base = {"a": {"b": 1, "c": 2}}
    assert merged(base, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert overridden(base, "a.c=5") == {"a": {"b": 1, "c": 5}}
    assert base == {"a": {"b": 1, "c": 2}}


def test_the_list_names_members_and_families_without_training_libraries() -> None:
    code = (
        "import sys; from exporter.cli.export import main; code = main(['--list', '--json']); "
        "bad = {'torch', 'sklearn', 'scipy', 'lightgbm', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {bad}' if bad else code)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    (digits,) = [recipe for recipe in msgspec.json.decode(found.stdout) if recipe["name"] == "digits"]
    families = {member["name"]: member["family"] for member in digits["members"]}
    assert families == {
        "cnn": "cnn", "gru": "gru", "pca": "pca", "trees": "tree", "wavelet": "wavelet", "retrieval": "retrieval",
        "autoencoder": "autoencoder", "clusters": "kmeans", "isolation": "isolation_forest",
    }  # fmt: skip
    assert [member["name"] for member in digits["members"] if member["role"] == "detector"] == [
        "autoencoder", "clusters", "isolation",
    ]  # fmt: skip


def test_a_missing_training_library_is_named_with_its_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; from exporter.cli.export import main; "
        f"sys.exit(main(['digits', '--repository', {str(tmp_path)!r}]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 2, found.stderr
    assert "tutti export: needs the package 'sklearn': pip install 'tutti-serve[export]'" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digts"], "recipe 'digts': is no file"),
        (
            ["digits", "--set", "members.cnn.width=x"],
            "--set members.cnn.width=x: members.cnn.width: expected a whole number",
        ),
        (["digits", "--data", "here"], "--data is 'here', but the digits come with scikit-learn"),
    ],
)
def test_the_command_line_answers_a_mistake_with_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, "--repository", str(tmp_path / "models")]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("tutti export: ")
    assert message in error
    assert not (tmp_path / "models").exists()


def test_the_recipe_in_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    (example,) = (part.split("```")[0] for part in page.split("```toml")[1:])
    assert set(parse_recipe(example.encode(), "docs").members) == {"pca", "forest"}
