"""The fixed parts of image members, against what they should compute."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from exporter.data.dataset import Rows
from exporter.images.networks.cnn import TwoLayerNetwork
from exporter.images.networks.components import principal_components
from exporter.images.networks.energies import HaarEnergies
from exporter.images.networks.patches import PatchResponses, patch_bank
from exporter.images.networks.pixels import Frame, Pixels
from exporter.images.networks.retrieval import NeighbourIndex
from exporter.images.networks.whitening import WhitenedPatches, patch_filters
from tests.exporter.images.drawing import drawn


def colour(side: int = 32) -> Frame:
    return Frame("image", 3, side, side, 0.0, 255.0, channels_last=True)


def rows(count: int = 60, side: int = 32) -> Rows:
    images, labels = drawn(count, side)
    return Rows.of({"image": images}, labels)


def test_pixels_of_either_layout_are_the_same_planes() -> None:
    images = torch.from_numpy(rows(4).inputs["image"])
    planes = Pixels(colour())(images)
    assert torch.equal(planes, Pixels(Frame("image", 3, 32, 32, 0.0, 255.0))(images.permute(0, 3, 1, 2)))
    assert planes[0, 1, 2, 3].item() == pytest.approx(images[0, 2, 3, 1].item() / 255)


def test_energies_are_sums_of_whole_numbers_that_pywavelets_confirms() -> None:
    images = rows(5).inputs["image"]
    features = HaarEnergies(colour(), levels=3)
    found = features(torch.from_numpy(images))
    assert found.shape == (5, features.size)
    assert torch.equal(found, found.round())
    assert found.abs().max() < 2**24
    brightness = images.astype(np.float64).sum(axis=3)
    for row in range(5):
        _, (across, _, _) = pywt.dwt2(brightness[row], "haar", mode="periodization")
        # PyWavelets halves where we only add; the first 16 features are the strength of the first detail by place.
        blocks = np.abs(2 * across).reshape(4, 4, 4, 4).sum(axis=(1, 3)).ravel()
        assert found[row, :16].numpy() == pytest.approx(blocks, rel=1e-6)


@pytest.mark.parametrize(("side", "places"), [(8, 4), (9, 4), (28, 16), (32, 16), (64, 16), (224, 16)])
def test_two_layers_leave_about_as_many_places_whatever_the_size(side: int, places: int) -> None:
    network = TwoLayerNetwork(colour(side), 10, 8, 0.0)
    answers = network(torch.from_numpy(rows(3, side).inputs["image"]))
    assert answers.shape == (3, 10)
    assert network.head[1].in_features == 8 * places


@pytest.mark.parametrize("side", [32, 64, 224])
def test_the_stem_leaves_about_as_many_positions_whatever_the_size(side: int) -> None:
    frame = colour(side)
    filters = patch_filters(frame, rows(6, side), 12, 1)
    found = WhitenedPatches(frame, filters)(torch.from_numpy(rows(6, side).inputs["image"]))
    assert found.shape[1] == 2 * len(filters.bias) == 24
    assert 30 <= found.shape[2] <= 32


def test_the_stem_whitens() -> None:
    """On the patches it was made from, the responses have mean 0, about unit variance and no correlation."""
    given = rows(200)
    filters = patch_filters(colour(), given, 6, 1)
    planes = Pixels(colour())(torch.from_numpy(given.inputs["image"]))
    found = torch.nn.functional.conv2d(planes, filters.weight, filters.bias, stride=2).transpose(0, 1).flatten(1)
    covariance = torch.cov(found)
    assert found.mean(dim=1).abs().max() < 0.01
    assert covariance.diagonal().min() > 0.7
    assert covariance.diagonal().max() < 1.01
    assert (covariance - covariance.diagonal().diag()).abs().max() < 0.01


def test_components_by_projection_hold_what_those_by_decomposition_hold() -> None:
    given = rows(120)
    basis = principal_components(colour(), given, 5)
    flat = given.inputs["image"].transpose(0, 3, 1, 2).reshape(120, -1) / 255
    centred = flat - flat.mean(axis=0)
    strongest = np.linalg.svd(centred, full_matrices=False)[1][:5]
    directions = np.linalg.qr(basis.projection.numpy())[0]
    assert basis.mean.numpy() == pytest.approx(flat.mean(axis=0), abs=1e-5)
    assert np.square(centred @ directions).sum() >= 0.98 * np.square(strongest).sum()
    assert torch.equal(basis.projection, principal_components(colour(), given, 5).projection)


def test_patch_responses_have_both_signs_averaged_on_a_grid() -> None:
    given = rows()
    bank = patch_bank(colour(), given, 8, 6, seed=0)
    features = PatchResponses(colour(), bank, stride=2, grid=2, threshold=0.0)
    found = features(torch.from_numpy(given.inputs["image"]))
    assert found.shape == (60, features.size) == (60, 2 * 8 * 4)
    raw = torch.nn.functional.conv2d(
        Pixels(colour())(torch.from_numpy(given.inputs["image"])), bank.weight, bank.bias, stride=2
    )
    corner = raw[:, :, :7, :7].clamp(min=0).mean(dim=(2, 3))
    assert found[:, : 8 * 4 : 4].numpy() == pytest.approx(corner.numpy(), abs=1e-5)


def test_neighbours_of_a_stored_row_are_led_by_itself() -> None:
    given = rows(90)
    embedding = torch.nn.Sequential(Pixels(colour()), torch.nn.Flatten(), torch.nn.Linear(3072, 16))
    embedding.append(_Unit())
    index = NeighbourIndex(embedding, given, 3, neighbours=200, temperature=0.005, smoothing=0.03)
    found = index(torch.from_numpy(given.inputs["image"]))
    assert (found.argmax(dim=1).numpy() == given.target).mean() > 0.95
    assert found.min() >= 0.01 - 1e-6
    assert found.sum(dim=1).detach().numpy() == pytest.approx(np.ones(90), abs=1e-5)


class _Unit(torch.nn.Module):
    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=1)
