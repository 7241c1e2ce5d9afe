"""Audio files of every format, and how near what is read is to what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openunmix import audio

__all__ = [
    "FORMATS",
    "LENGTH",
    "LOSSLESS",
    "RATE",
    "encode",
    "lag",
    "music",
    "read",
    "remux",
    "snr",
    "write",
]

RATE = 44100
LENGTH = 60001  # a prime number of samples, so no multiple of any frame or block

# Extension to the least signal-to-noise ratio in dB of a round trip: PCM from its word
# length, lossy formats from what they reach on `music` with some margin.
FORMATS = {".wav": 140, ".flac": 125, ".ogg": 20, ".opus": 18, ".mp3": 20, ".m4a": 20}
LOSSLESS = [".wav", ".flac"]


def music(length: int = LENGTH, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A melody with some noise, different in each channel."""
    time = np.arange(length) / rate
    generator = np.random.default_rng(7)
    tones = [np.sin(2 * np.pi * (330 + 170 * k) * time + 2 * np.sin(9 * time)) for k in range(8)]
    block = 0.4 * np.stack(tones[:channels]) + 0.02 * generator.standard_normal((channels, length))
    return block.astype(np.float32)


def write(path: Path, block: np.ndarray, rate: int = RATE, **options) -> Path:
    with audio.AudioWriter(path, rate, block.shape[0], **options) as writer:
        for first in range(0, block.shape[1], 9973):
            writer.write(block[:, first : first + 9973])
    return path


def encode(path: Path, block: np.ndarray, codec: str, layout: str, container: str, **options):
    """Encode with FFmpeg what `AudioWriter` does not write."""
    import av

    rate = options.pop("rate", RATE)
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, bit_rate=128000)
        packed = np.ascontiguousarray(block.T).reshape(1, -1)  # PyAV crashes with 8 planes
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def remux(path: Path, target: Path, container: str) -> Path:
    """Copy the audio packets into another container, as ``ffmpeg -c copy`` does."""
    import av

    with av.open(str(path)) as source, av.open(str(target), "w", format=container) as output:
        stream = source.streams.audio[0]
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    return target


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Signal-to-noise ratio of an estimate in dB."""
    noise = np.sum((reference - estimate) ** 2) + 1e-20
    return float(10 * np.log10(np.sum(reference**2) / noise))


def lag(reference: np.ndarray, estimate: np.ndarray) -> int:
    """Delay of the estimate at which the two correlate best, in samples."""
    size = 2 * max(reference.shape[-1], estimate.shape[-1])
    spectrum = np.fft.rfft(estimate[0], size) * np.fft.rfft(reference[0], size).conj()
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(correlation))
    return peak if peak < size // 2 else peak - size


def read(path: Path, **options) -> np.ndarray:
    return audio.read_audio(path, **options).waveform.numpy()
