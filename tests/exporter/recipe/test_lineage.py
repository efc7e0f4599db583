"""What a recipe may say of who begins with whose parameters, and of members that are made of others."""

from __future__ import annotations

import pytest

from exporter.errors import RecipeError
from exporter.recipe.lineage import depth
from exporter.recipe.recipe import parse_recipe

SMALL = b"""
name = "small"
task = "classification"
[data]
source = "digits"
[members.base]
family = "pca"
publish = false
[members.a]
family = "pca"
training = { init_from = "base" }
[members.b]
family = "pca"
training = { init_from = "a" }
[members.other]
family = "pca"
[members.forest]
family = "tree"
[members.group]
family = "multi_head"
[aggregates.soup]
members = ["a", "b"]
"""


def test_a_base_is_no_member_of_the_ensemble_and_an_aggregate_is_one() -> None:
    recipe = parse_recipe(SMALL, "small")
    assert list(recipe.voters) == ["a", "b", "other", "forest", "group-1", "group-2", "group-3", "soup"]
    assert [depth(name, recipe.members) for name in recipe.members] == [0, 1, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("members.a.training.init_from=bose", "init_from is 'bose', expected a member of this recipe ('base', 'a'"),
        ("members.a.training.init_from=bose", "did you mean base?"),
        ("members.a.training.init_from=a", "init_from goes in a circle: a → a"),
        ("members.base.training.init_from=b", "init_from goes in a circle: base → b → a → base"),
        ("members.a.training.init_from=forest", "init_from is 'forest', a tree, which no gradient trains"),
        ("members.a.training.init_from=digits/x:cnn", "NAME/VERSION:MEMBER or NAME/latest:MEMBER"),
        ("members.a.training.init_from=weights.pt", "a file whose name ends in .safetensors"),
        ("members.forest.init_from=a", "unknown field 'init_from'"),
        ("members.a.training.average=mean", "expected one of"),
        ("aggregates.soup.members=['a']", "expected a list of at least 2 entries"),
        ("aggregates.soup.members=['a','a']", "aggregates.soup.members names 'a' more than once"),
        ("aggregates.soup.members=['a','c']", "aggregates.soup.members names 'c', there are"),
        ("aggregates.soup.members=['a','forest']", "a tree, which no gradient trains: fuse its answers"),
        ("aggregates.soup.members=['a','group']", "which makes 3 members: fuse their answers"),
        ("aggregates.soup.members=['a','other']", "which begin with different weights ('base', 'other')"),
        ("aggregates.soup.rule=median", "expected one of"),
    ],
)
def test_a_wrong_lineage_is_named_in_one_line(override: str, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(SMALL, "small", overrides=[override])
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_averages_need_workers_that_step_alike() -> None:
    text = SMALL + b'[training]\nmode = "local_sgd"\n'
    with pytest.raises(RecipeError, match=r"average is 'ema', which training.mode 'local_sgd' has not"):
        parse_recipe(text, "small", overrides=["members.other.training.average=ema"])


def test_an_aggregate_has_a_name_of_its_own() -> None:
    with pytest.raises(RecipeError, match="members, aggregates and detectors have 'soup' more than once"):
        parse_recipe(SMALL + b'[members.soup]\nfamily = "pca"\n', "small")


def test_members_of_unknown_origin_may_be_averaged_until_their_files_say_otherwise() -> None:
    overrides = [f"members.{name}.training.init_from=digits/latest:{name}" for name in ("a", "b")]
    assert "soup" in parse_recipe(SMALL, "small", overrides=overrides).voters
