"""What libsndfile does not read, through PyAV: the extra ``formats``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from openunmix_lite.audio import Audio
from openunmix_lite.errors import LiteError
from openunmix_lite.fourier import Real

_LAYOUTS = {1: "mono", 2: "stereo"}
_EXACT = ("mp3", "mov,mp4,m4a,3gp,3g2,mj2")  # containers that know how long they are


def open_av(path: Path) -> Audio:
    """Open the first audio stream of any container that FFmpeg knows."""
    import av

    # An open file and no protocol: nothing inside the file can make FFmpeg open another.
    file = path.open("rb")
    try:
        options = {"protocol_whitelist": "none"}
        container: Any = av.open(file, options=options, metadata_errors="replace")
        stream = container.streams.audio[0]
        rate, channels = stream.sample_rate, stream.channels
    except (av.FFmpegError, IndexError, AttributeError, ValueError) as error:
        file.close()
        raise LiteError(f"{str(path)!r} is damaged or has no audio; give an audio file") from error
    if channels > 8:
        file.close()
        raise LiteError(f"{str(path)!r} has {channels} channels; mix them to two")
    samples = 0
    if stream.duration and container.format.name in _EXACT:
        samples = round(float(stream.duration * stream.time_base - 0.25) * rate)
    tags = {key.lower(): text for key, text in container.metadata.items()}
    return Audio(rate, min(channels, 2), samples, tags, _blocks(path, file, container, stream))


def _blocks(path: Path, file: BinaryIO, container: Any, stream: Any) -> Iterator[Real]:
    """Yield decoded frames, more than two channels mixed down by FFmpeg (ITU-R BS.775)."""
    import av

    form = (stream.sample_rate, stream.channels)
    resampler: Any = av.AudioResampler("fltp", _LAYOUTS[min(stream.channels, 2)])
    is_started = is_damaged = False
    with file, container:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # harmless before the first frame and after the last one
                is_damaged = True
                continue
            if any((frame.sample_rate, frame.layout.nb_channels) != form for frame in frames):
                raise LiteError(f"{str(path)!r} changes its format on the way; convert it to WAV")
            parts = [part for frame in frames for part in resampler.resample(frame)]
            if parts and is_started and is_damaged:
                raise LiteError(f"{str(path)!r} is damaged; fetch or export it again")
            is_started, is_damaged = is_started or bool(parts), is_damaged and not parts
            # The last frame of an MP4 is padded; its packet says what is audio.
            is_exact = len(parts) == 1 and packet.time_base * stream.sample_rate == 1
            for part in parts:
                yield part.to_ndarray()[:, : (packet.duration or None) if is_exact else None]
