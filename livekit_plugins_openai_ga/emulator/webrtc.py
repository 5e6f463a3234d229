"""The caller's end of a WebRTC call: a real peer, with Opus in both directions and the `oai-events` data channel."""

from __future__ import annotations

import asyncio
import fractions
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from .actions import Event
from .voice import SAMPLE_RATE

_WAITING_FRAMES = 10
"""Sound that waits for the line, in frames of 20 ms: beyond that the oldest goes, so that the caller never lags."""
_EARLY_EVENTS = 1000
"""Events that wait for the data channel, which a page may never open: beyond that the oldest go."""


class WebRtcPeer:
    """One caller. `hear` gets the sound as 24 kHz int16 mono PCM, `receive` the events, as they come."""

    def __init__(
        self,
        *,
        hear: Callable[[bytes], None],
        receive: Callable[[str | bytes], None],
        connected: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        self._hear = hear
        self._receive = receive
        self._connected = connected
        self._gone = gone
        # No STUN server: caller and emulator are on one machine, or in one network.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._speech = _Speech()
        self._channel: RTCDataChannel | None = None
        self._early: deque[Event] = deque(maxlen=_EARLY_EVENTS)
        self._listening: set[asyncio.Task[None]] = set()
        self._connection.on("track", self._track_came)
        self._connection.on("datachannel", self._channel_came)
        self._connection.on("connectionstatechange", self._state_changed)

    async def answer(self, offer: str) -> str:
        """The SDP answer to this offer. Raises ValueError for what is none."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self._connection.addTrack(self._speech)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    def send(self, event: Event) -> None:
        """Tell the caller of an event; what comes before the data channel waits for it, up to `_EARLY_EVENTS`."""
        if self._channel is None:
            self._early.append(event)
        elif self._channel.readyState == "open":
            self._channel.send(json.dumps(event))

    def play(self, pcm: bytes) -> None:
        """Let the caller hear the next 20 ms: 24 kHz int16 mono PCM."""
        self._speech.put(pcm)

    async def aclose(self) -> None:
        """Hang up."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        await self._connection.close()

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._receive)
        while self._early:
            self.send(self._early.popleft())

    def _track_came(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._listening.add(asyncio.ensure_future(self._listen(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        try:
            while True:
                heard = await track.recv()
                assert isinstance(heard, av.AudioFrame)
                for frame in resampler.resample(heard):
                    self._hear(frame.to_ndarray().tobytes())
        except MediaStreamError:  # the caller has stopped
            return

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected()
        elif state in ("closed", "failed"):
            self._gone()


class _Speech(MediaStreamTrack):
    """What the caller hears. Whoever puts frames in keeps the time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._position = 0

    def put(self, pcm: bytes) -> None:
        if self._frames.qsize() >= _WAITING_FRAMES:
            self._frames.get_nowait()
        self._frames.put_nowait(pcm)

    async def recv(self) -> Any:
        samples = np.frombuffer(await self._frames.get(), dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = self._position, fractions.Fraction(1, SAMPLE_RATE)
        self._position += samples.shape[1]
        return frame
