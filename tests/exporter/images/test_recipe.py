"""The shipped recipe of photographs, under every preset."""

from __future__ import annotations

import pytest

from exporter.images.families import Cnn
from exporter.optimisation.spec import Target
from exporter.recipe.catalogue import find_recipe
from exporter.recipe.recipe import PRESETS, read_recipe
from exporter.recipe.sources import Cifar10, ImageFolder


@pytest.mark.parametrize("preset", PRESETS)
def test_every_table_of_the_recipe_is_one_member_of_its_own_name(preset: str) -> None:
    """A transformer's field called heads once made four members of it."""
    recipe = read_recipe(find_recipe("cifar10"), preset)
    assert list(recipe.voters) == list(recipe.members)
    assert {"deep", "residual", "separable", "vit", "pca", "patches", "wavelet", "retrieval"} <= set(recipe.members)
    assert isinstance(recipe.data, Cifar10)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_tutorials_classifier_trains_wide_networks_of_two_layers_until_they_are_good_enough(preset: str) -> None:
    recipe = read_recipe(find_recipe("image-classifier"), preset)
    wide = {name: spec for name, spec in recipe.members.items() if isinstance(spec, Cnn)}
    assert {spec.width for spec in wide.values()} == {512, 256}
    for spec in wide.values():
        assert spec.structure == "two_layer"
        assert spec.training.optimiser == "adam"
        assert spec.training.stop_at == Target(accuracy=0.8)
        assert spec.training.report_every == 50


def test_the_recipe_takes_a_folder_of_larger_images_too() -> None:
    recipe = read_recipe(find_recipe("cifar10"), "fast", ["data.source=images", "data.size=64", "name=flowers"])
    assert isinstance(recipe.data, ImageFolder)
    assert recipe.data.size == 64
    assert recipe.data.train_rows == 11_000
