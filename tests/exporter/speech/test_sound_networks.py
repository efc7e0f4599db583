"""Log-mel, scattering and timing: what is around a clip and how loud it is changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exporter.members.base import Setting
from exporter.speech.clips import padded
from exporter.speech.networks.cnn import MelNetwork
from exporter.speech.networks.mel import LogMel, mel_bank, valid
from exporter.speech.networks.recurrent import FrameReader
from exporter.speech.networks.scattering import Scattering
from exporter.speech.networks.timing import BothWays, Stretched, turned
from exporter.speech.networks.transducer import Transducer
from exporter.speech.networks.wavelet import Features
from model_repo import Input
from tests.exporter.speech.samples import RATE, word

pytestmark = pytest.mark.timeout(120)


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        MelNetwork(RATE, 3, 4, 16, 0.1), FrameReader(RATE, 3, 8, 0.1), Scattering(RATE, 4, 2),
        Transducer(RATE, 3, 8, 0.1),
    ]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("place", range(4))
def test_zeros_around_a_clip_and_its_level_change_nothing(place: int) -> None:
    module = networks()[place].eval()
    clip = torch.from_numpy(word(1, 3))[None]
    expected = module(clip)
    for before, after in ((0, 1), (0, 5000), (800, 0), (1600, 333)):
        assert torch.allclose(module(nn.functional.pad(clip, (before, after))), expected, atol=1e-5)
    assert torch.allclose(module(clip / 7), expected, atol=2e-4)
    both = torch.stack([nn.functional.pad(clip[0], (0, 900)), nn.functional.pad(clip[0], (480, 420))])
    assert torch.allclose(module(both), expected.expand(2, -1), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("place", range(4))
def test_silence_and_single_samples_have_finite_answers(place: int) -> None:
    module = networks()[place].eval()
    for length in (1, 2, 79, 80, 81, 4000):
        audio = torch.zeros(3, length)
        audio[1, 0], audio[2] = 1.0, 1e-5
        assert torch.isfinite(module(audio)).all()


@torch.no_grad()
def test_scattering_is_the_same_in_the_graph_at_every_length() -> None:
    module = Scattering(RATE, 4, 2)
    setting = Setting((Input(name="audio", datatype="FP32", shape=(-1, -1)),), {}, 3, 0)
    features = Features(module, setting)
    for length in (1, 80, 1999, 6000):
        audio = padded([word(k, 1)[:length] for k in range(3)], length)
        assert np.allclose(features(audio), module(torch.from_numpy(audio)).numpy(), atol=2e-4)


def test_a_tone_lights_up_its_band() -> None:
    hertz = 1000.0
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(4000) / RATE)[None]
    frames, length = LogMel(RATE)(tone)
    bank = mel_bank(RATE, 256, 40)
    centres = (bank * np.arange(129)[:, None] * RATE / 256).sum(axis=0)
    loudest = frames[0, 5 : int(length) - 5].mean(dim=0).argmax()
    assert abs(centres[int(loudest)] - hertz) < 60
    assert float(frames.max()) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(bank.sum(axis=0), 1, atol=1e-5)


def test_stretching_keeps_a_line_a_line_and_sees_no_padding() -> None:
    for length in (2, 5, 16, 40):
        line = torch.arange(50.0)[None, :, None].clone()
        line[:, length:] = 1e6
        found = Stretched(8)(line, torch.tensor([length]))[0, :, 0]
        steps = found.diff()
        assert found.max() < length
        assert (steps >= -1e-5).all()
        if length >= 16:
            assert torch.allclose(steps[1:-1], torch.tensor(length / 8), atol=0.2 * length / 8)


def test_the_way_back_begins_at_the_last_valid_frame() -> None:
    frames, length = torch.arange(12.0).reshape(1, 6, 2), torch.tensor([4])
    assert turned(frames, length)[0, :, 0].tolist() == [6, 4, 2, 0, 8, 10]
    torch.manual_seed(1)
    reader = BothWays(2, 3)
    other = frames.clone()
    other[:, 4:] = 99
    assert torch.equal(reader(frames, length), reader(other, length))
    assert not reader(frames, length)[:, 4:].any()


def test_bands_and_frames_are_hidden_while_training_alone() -> None:
    torch.manual_seed(0)
    module = FrameReader(RATE, 3, 8, 0.0)
    frames, length = torch.ones(4, 50, 40), torch.tensor([50, 20, 10, 50])
    hidden: Tensor = module.train().masking(frames, length)
    assert 0.5 < float(hidden.mean()) < 1
    assert torch.equal(module.eval().masking(frames, length), frames)
    assert valid(length, frames).sum(dim=1).tolist() == length.tolist()
