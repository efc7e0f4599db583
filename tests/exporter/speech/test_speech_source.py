"""Spoken words as data: WAV files and npz files as they should be, and as they should not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.data.dataset import TEST
from exporter.errors import DataError
from exporter.speech.clips import lengths, padded
from exporter.speech.source import Speech
from exporter.speech.wav import read_wav
from tests.exporter.speech.samples import RATE, WORDS, word, write, write_folder

SOURCE = Speech(labels=WORDS, test_recordings=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "words", 4)


def stored(folder: Path, name: str, **changes: object) -> Path:
    """An npz file of one clip of each word."""
    clips = [word(k, 0) for k in range(len(WORDS))]
    arrays = {
        "audio": np.concatenate([np.round(clip * 32767).astype(np.int16) for clip in clips]),
        "offsets": np.cumsum([0, *(len(clip) for clip in clips)]),
        "labels": np.arange(len(WORDS)),
        "sample_rate": np.array(RATE),
        **changes,
    }
    folder.mkdir(exist_ok=True)
    np.savez(folder / name, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})
    return folder


def test_the_first_recordings_are_the_test_rows(folder: Path) -> None:
    data = SOURCE.load(folder)
    assert len(data.rows) == 12
    assert data.classes == WORDS
    assert int((data.rows.part == TEST).sum()) == 6
    assert sorted(data.rows.target[data.rows.part == TEST]) == [0, 0, 1, 1, 2, 2]
    assert data.inputs[0].shape == (-1, -1)


def test_a_row_is_the_files_samples_and_zeros_behind(folder: Path) -> None:
    data = SOURCE.load(folder)
    path = min(folder.glob("*.wav"))
    row, samples = data.rows.inputs["audio"][0], read_wav(path, RATE)
    assert np.array_equal(row[: len(samples)], samples)
    assert not row[len(samples) :].any()
    assert lengths(row[None])[0] <= len(samples)


def test_the_public_archives_folder_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "recordings", 3)
    assert len(SOURCE.load(tmp_path).rows) == 9


def test_npz_files_give_the_same_rows_as_wav_files(tmp_path: Path) -> None:
    source = Speech(labels=("0", "1", "2"))
    data = source.load(stored(stored(tmp_path / "npz", "train_3.npz"), "test_3.npz"))
    assert data.rows.part.tolist() == [1, 1, 1, 0, 0, 0]  # sorted by name
    assert np.abs(data.rows.inputs["audio"][4, : len(word(1, 0))] - word(1, 0)).max() < 2 / 32767


@pytest.mark.parametrize("width", [1, 2, 4])
def test_samples_of_each_width_are_the_same_sound(tmp_path: Path, width: int) -> None:
    samples = word(1, 5)
    found = read_wav(write(tmp_path / "a.wav", samples, width=width), RATE)
    assert np.abs(found - samples).max() < 2.0 ** (2 - 8 * min(width, 2))


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    time = np.arange(16000) / 16000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    found = read_wav(write(tmp_path / "a.wav", tone, rate=16000), RATE)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert found.shape == (RATE,)
    assert np.abs(found - expected)[100:-100].max() < 0.01


def test_what_is_wrong_with_a_file_is_said_with_its_name(folder: Path) -> None:
    bad = folder / "one_tone_9.wav"
    for data, problem in [
        (b"RIFF", "cannot be read as a WAV file"),
        (b"", "cannot be read as a WAV file"),
        ((folder / "one_tone_0.wav").read_bytes()[:-7], "its header says"),
    ]:
        bad.write_bytes(data)
        with pytest.raises(DataError, match=rf"^one_tone_9\.wav: .*{problem}"):
            SOURCE.load(folder)
    write(bad, word(1, 9), channels=2)
    with pytest.raises(DataError, match=r"one_tone_9\.wav: has 2 channels, expected 1"):
        SOURCE.load(folder)
    write(bad, np.zeros(800, dtype=np.float32))
    with pytest.raises(DataError, match=r"one_tone_9\.wav: is silent"):
        SOURCE.load(folder)
    write(bad, np.ones(6 * RATE, dtype=np.float32))
    with pytest.raises(DataError, match=r"one_tone_9\.wav: lasts 6\.00 s, at most 5 s"):
        SOURCE.load(folder)


def test_names_and_labels_are_checked(folder: Path) -> None:
    other = write(folder / "eleven_tone_0.wav", word(0, 0))
    with pytest.raises(DataError, match=r"eleven_tone_0\.wav: is labelled 'eleven', expected one of zero, one, two"):
        SOURCE.load(folder)
    other.rename(folder / "one.wav")
    with pytest.raises(DataError, match=r"^one\.wav: expected a name like label_speaker_index\.wav"):
        SOURCE.load(folder)


def test_a_word_that_nobody_says_is_named(folder: Path) -> None:
    for path in folder.glob("two_*"):
        path.unlink()
    with pytest.raises(DataError, match=r"words: no clip of 'two' among 8"):
        SOURCE.load(folder)


def test_an_empty_folder_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no WAV files"):
        SOURCE.load(tmp_path)
    with pytest.raises(DataError, match="--data is missing"):
        SOURCE.load(None)


def test_what_is_wrong_with_an_npz_file_is_said_with_its_name(tmp_path: Path) -> None:
    source = Speech(labels=("0", "1", "2"))
    with pytest.raises(DataError, match=r"train\.npz: audio is float64 .*, expected int16"):
        source.load(stored(tmp_path / "a", "train.npz", audio=np.zeros(9)))
    with pytest.raises(DataError, match=r"train\.npz: offsets has 2 values for 3 labels"):
        source.load(stored(tmp_path / "b", "train.npz", offsets=[0, 9]))
    with pytest.raises(DataError, match=r"train\.npz: offsets do not cut .* at row 1"):
        source.load(stored(tmp_path / "c", "train.npz", offsets=[0, 9, 9, 20]))
    (tmp_path / "c" / "train.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"train\.npz: cannot be read as an npz file"):
        source.load(tmp_path / "c")


def test_rows_are_padded_to_the_longest() -> None:
    found = padded([np.ones(3, dtype=np.float32), np.ones(5, dtype=np.float32)])
    assert found.shape == (2, 5)
    assert lengths(found).tolist() == [3, 5]
    assert lengths(np.zeros((1, 4), dtype=np.float32)).tolist() == [1]
