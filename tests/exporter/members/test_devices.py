"""Networks train on a device that is not the CPU: nothing of a step is left behind, and all of it comes back.

Recurrent ones are not here: torch turns their states around in place, which the pretended device cannot follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as with_fields
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.images import families as images
from exporter.members.base import Augmentation, Family, Group, Setting, Training
from exporter.optimisation.spec import Target
from exporter.ratings.families import TwoTower
from exporter.recipe.sources import Movielens
from exporter.speech.families import SoundCnn
from exporter.speech.families.spec import AudioTraining
from exporter.tables.families import Mlp
from exporter.tables.source import NUMBERS
from exporter.text import families as text
from exporter.text.families.training import TextTraining
from exporter.threads import one_thread
from model_repo import Input
from tests.exporter.images.drawing import dataset as photographs
from tests.exporter.optimisation.elsewhere import DEVICE, Device
from tests.exporter.ratings.samples import ratings, write_csv
from tests.exporter.speech.samples import rows as clips
from tests.exporter.text.data import prepared

pytestmark = pytest.mark.timeout(300)

ONCE = Training(epochs=1, batch_rows=16)
TURNED = with_fields(ONCE, augmentation=Augmentation(flip=True, crop_px=1))
READ = TextTraining(epochs=1, stop_at=Target(accuracy=1.0))
HEARD = AudioTraining(epochs=1, batch_rows=8)
FAMILIES: dict[str, dict[str, Family]] = {
    "photographs": {
        "shallow": images.Cnn(width=4, training=TURNED),
        "residual": images.Cnn(structure="residual", width=4, training=TURNED),
        "vit": images.Vit(patch=8, width=8, attention_heads=2, layers=1, training=ONCE),
        "pca": images.Pca(components=4, hidden=8, training=ONCE),
        "patches": images.Linear(patches=8, steps=3),
        "wavelet": images.Wavelet(hidden=8, training=ONCE),
        "retrieval": images.Retrieval(width=4, dimensions=4, training=TURNED),
        "proxies": images.Retrieval(width=4, dimensions=4, loss="proxies", training=ONCE),
        "heads": images.MultiHead(members=2, width=4, hidden=8, training=ONCE),
        "factors": images.BatchEnsemble(members=2, width=4, training=ONCE),
        "stacked": images.DeepEnsemble(members=2, width=4, training=ONCE),
        "front": images.SharedFront(front="filters", filters=4, hidden=8, frozen=False, training=ONCE),
    },
    "texts": {
        "cnn": text.Cnn(tokens="tokens", size=8, filters=4, training=READ),
        "tree": text.Recursive(tokens="tokens", size=8, training=READ),
        "bert": text.Bert(tokens="tokens", size=8, attention_heads=2, layers=1, training=READ),
        "gpt": text.Gpt(tokens="tokens", size=8, attention_heads=2, layers=1, training=READ),
    },
    "sounds": {"cnn": SoundCnn(training=HEARD)},
    "ratings": {"towers": TwoTower(dimensions=4, hidden=8, training=ONCE)},
    "points": {"mlp": Mlp(bins=4, width=2, hidden=8, training=ONCE)},
}


def photographs_given(_: Path) -> tuple[Rows, Setting]:
    data = photographs(48)
    return data.rows, Setting(data.inputs, data.ranges, data.columns, 3)


def texts_given(folder: Path) -> tuple[Rows, Setting]:
    found = prepared(folder, 80)
    return found.fit, found.setting()


def sounds_given(_: Path) -> tuple[Rows, Setting]:
    entry = Input(name="audio", datatype="FP32", shape=(-1, -1))
    return clips(8), Setting((entry,), {}, 3, 3, context={"sample_rate": np.array(8000)})


def ratings_given(folder: Path) -> tuple[Rows, Setting]:
    data = Movielens().load(write_csv(folder, ratings()))
    return data.rows, Setting(data.tensors, data.ranges, 1, 3, "cpu", data.context, data.task)


def points_given(_: Path) -> tuple[Rows, Setting]:
    rng = np.random.default_rng(5)
    rows = Rows.of({NUMBERS: rng.normal(size=(60, 4)).astype(np.float32)}, rng.integers(0, 2, 60))
    return rows, Setting((Input(name=NUMBERS, datatype="FP32", shape=(-1, 4)),), {}, 2, 3)


GIVEN = {
    "photographs": photographs_given,
    "texts": texts_given,
    "sounds": sounds_given,
    "ratings": ratings_given,
    "points": points_given,
}


@pytest.mark.parametrize(("domain", "name"), [(domain, name) for domain, all_ in FAMILIES.items() for name in all_])
def test_a_network_comes_to_the_same_answers_on_another_device(domain: str, name: str, tmp_path: Path) -> None:
    spec = FAMILIES[domain][name]
    rows, setting = GIVEN[domain](tmp_path)
    with one_thread():
        here = answers(spec, rows, setting)
        with Device():  # type: ignore[no-untyped-call]
            member = spec.train(rows, at_device(setting))
        found = answered(member, rows.inputs)
    assert np.array_equal(found, here)


def at_device(setting: Setting) -> Setting:
    """For members that train on the pretended device."""
    return replace(setting, device=DEVICE)  # type: ignore[arg-type]  # none that recipes may name


def answers(spec: Family, rows: Rows, setting: Setting) -> NDArray[np.float32]:
    return answered(spec.train(rows, setting), rows.inputs)


def answered(member: object, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = member.predict_each(inputs) if isinstance(member, Group) else member.predict(inputs)  # type: ignore[attr-defined]
    return found
