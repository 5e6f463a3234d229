"""Where `listen` gets its audio: a file, or the microphone.

Both are async context managers that give `rtc.AudioFrame`s (int16 mono). What is wrong with a file or a device is a
`ValueError` on entering, with one sentence for its user.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import av
from livekit import rtc

from ..wire.session import SAMPLE_RATE

FRAME_MS = 20
"""Length of a microphone frame, in ms."""

_GIVE_AUDIO = "give an audio file such as WAV, MP3, M4A, FLAC, Ogg or WebM"
_MIC_OR_FILE = "give a FILE instead of --mic"


class SoundIn(Protocol):
    """What both sources offer."""

    name: str

    async def __aenter__(self) -> SoundIn: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """The audio, until its end or until `stop`."""

    def stop(self) -> None:
        """End the audio: the iterator ends after what was recorded before."""

    @property
    def defect(self) -> str:
        """One sentence about audio that was lost on the way; "" when all is well."""


class AudioFile:
    """The audio of a file as 24 kHz mono, as fast as it is decoded, by FFmpeg in a thread.

    LiveKit's own decoder is made for live streams: it drops the first packet of a file (85 ms of a WAV file), and with
    it the beginning of the first word.
    """

    def __init__(self, path: str) -> None:
        self.name = Path(path).name
        self._path = path
        self._decoded = self._decode()
        self._first: rtc.AudioFrame | None = None
        self._damaged = 0
        self._stopped = False

    async def __aenter__(self) -> AudioFile:
        check_readable(self._path)
        try:
            self._first = await asyncio.to_thread(next, self._decoded, None)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"{self.name} cannot be read as audio ({reason}): {_GIVE_AUDIO}.") from error
        if self._first is None:
            raise ValueError(f"{self.name} holds no audio: {_GIVE_AUDIO}.")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.stop()
        # A frame may still be on its way in the thread; the file is closed behind it.
        with suppress(ValueError):
            self._decoded.close()

    @property
    def defect(self) -> str:
        """One sentence about what could not be decoded; "" when everything could."""
        return f"{self.name} is damaged: a part of it could not be decoded and was left out." if self._damaged else ""

    def stop(self) -> None:
        """End the audio after the frame that is being decoded."""
        self._stopped = True

    async def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """The audio, 24 kHz mono."""
        frame = self._first
        while frame is not None and not self._stopped:
            yield frame
            frame = await asyncio.to_thread(next, self._decoded, None)

    def _decode(self) -> Generator[rtc.AudioFrame, None, None]:
        with av.open(self._path) as container:
            if not container.streams.audio:
                raise ValueError("it has no audio track")
            resampler, form = None, None
            for found in self._packets(container):
                # Recordings that were joined change their rate or channels on the way.
                now = None if found is None else (found.format.name, found.layout.name, found.sample_rate)
                if resampler is not None and now != form:
                    yield from map(_frame, resampler.resample(None))
                if found is not None and now != form:
                    resampler, form = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE), now
                if found is not None and resampler is not None:
                    yield from map(_frame, resampler.resample(found))

    def _packets(self, container: av.container.InputContainer) -> Iterator[av.AudioFrame | None]:
        """Decoded frames, and None for their end. What is damaged is passed over, as players do."""
        packets = container.demux(container.streams.audio[0])
        while True:
            try:
                if (packet := next(packets, None)) is None:
                    break
            except av.FFmpegError:
                self._damaged += 1
                break
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self._damaged += 1
        yield None


def _frame(decoded: av.AudioFrame) -> rtc.AudioFrame:
    return rtc.AudioFrame(decoded.to_ndarray().tobytes(), SAMPLE_RATE, 1, decoded.samples)


def check_readable(path: str) -> None:
    """Raises ValueError, one sentence, when there is no such file or it cannot be opened."""
    if not os.path.exists(path):
        raise ValueError(f"{path} is not there: name an audio file.")
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder: name an audio file in it.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read: give yourself the right to read it.")


class Microphone:
    """The default microphone at its own rate, mono, in frames of 20 ms."""

    def __init__(self) -> None:
        self.name = ""
        """What the system calls the device; known after entering."""
        self.defect = ""
        self._stream: Any = None
        self._frames: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()

    async def __aenter__(self) -> Microphone:
        sounddevice = _sounddevice()
        loop = asyncio.get_running_loop()
        try:
            device = sounddevice.query_devices(kind="input")
            self.name = str(device["name"])
            # Not 24 kHz: few devices have that rate, and the plugin resamples what they have.
            rate = int(device["default_samplerate"])

            def take(data: Any, samples: int, _time: Any, status: Any) -> None:
                if status.input_overflow:
                    self.defect = f"{self.name} was read too slowly: a part of what it heard was lost."
                frame = rtc.AudioFrame(bytes(data), rate, 1, samples)
                loop.call_soon_threadsafe(self._frames.put_nowait, frame)

            self._stream = sounddevice.RawInputStream(
                samplerate=rate, channels=1, dtype="int16", blocksize=rate * FRAME_MS // 1000, callback=take
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self._close()
            raise ValueError(f"No microphone can be opened ({error}): connect one, or {_MIC_OR_FILE}.") from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._close()

    def stop(self) -> None:
        """End the recording: the iterator ends after the frames that were recorded before."""
        self._close()
        # Behind the frames that the recording thread has handed over but the loop has not queued yet.
        asyncio.get_running_loop().call_soon(self._frames.put_nowait, None)

    async def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """What is recorded, until `stop`."""
        while (frame := await self._frames.get()) is not None:
            yield frame

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _sounddevice() -> Any:
    # Imported only for a microphone: the library is loaded with PortAudio, which servers do not have.
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise ValueError(f"The microphone needs the package sounddevice: pip install it, or {_MIC_OR_FILE}.") from error
    except OSError as error:
        install = "on Debian and Ubuntu: apt install libportaudio2"
        raise ValueError(f"The microphone needs PortAudio: install it ({install}), or {_MIC_OR_FILE}.") from error
