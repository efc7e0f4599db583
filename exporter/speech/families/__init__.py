"""Members on sound."""

from exporter.speech.families.cnn import SoundCnn
from exporter.speech.families.recurrent import SoundGru
from exporter.speech.families.transducer import SoundTransducer
from exporter.speech.families.wavelet import SoundWavelet

AUDIO_FAMILIES = (SoundCnn, SoundGru, SoundWavelet, SoundTransducer)
"""Told apart by `family` in a recipe."""

__all__ = ["AUDIO_FAMILIES", "SoundCnn", "SoundGru", "SoundTransducer", "SoundWavelet"]
