"""Members on sound."""

from exporter.families.audio.cnn import SoundCnn
from exporter.families.audio.recurrent import SoundGru
from exporter.families.audio.transducer import SoundTransducer
from exporter.families.audio.wavelet import SoundWavelet

AUDIO_FAMILIES = (SoundCnn, SoundGru, SoundWavelet, SoundTransducer)
"""Told apart by `family` in a recipe."""

__all__ = ["AUDIO_FAMILIES", "SoundCnn", "SoundGru", "SoundTransducer", "SoundWavelet"]
