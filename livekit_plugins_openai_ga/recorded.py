"""Puts a recorder between a session and its connection, when there is one. Without, a session serves it itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol

from livekit import agents

from .connection import Connection
from .formats import PCM, AudioFormat
from .recording.entries import Header, Kind
from .recording.peer import RecordedPeer, RecordedSession
from .recording.recorder import Recorder, RecordingFile
from .transport.line import Peer
from .transport.link import Link
from .transport.supervisor import Supervised
from .version import __version__
from .wire.endpoint import Service

P = ParamSpec("P")


class Asked(Protocol):
    """The options of any kind of session."""

    @property
    def recorder(self) -> Recorder | None:
        """What records; None: nothing does."""

    @property
    def model(self) -> str:
        """The model id."""

    @property
    def connection(self) -> Connection:
        """Where the server is."""


def peer(inner: Peer, kind: Kind, asked: Asked, heard: AudioFormat) -> Peer:
    """Whom a line shall serve: `inner`, or what records for it. `heard`: the audio that is sent."""
    file = _file(kind, asked, heard, PCM)
    return inner if file is None else RecordedPeer(inner, file)


def session(
    inner: Supervised, kind: Kind, asked: Asked, heard: AudioFormat = PCM, spoken: AudioFormat = PCM
) -> Supervised:
    """The same for a supervisor. `spoken`: the audio that comes."""
    file = _file(kind, asked, heard, spoken)
    return inner if file is None else RecordedSession(inner, file)


def dialling(peer: Peer, dial: Callable[P, Awaitable[Link]]) -> Callable[P, Awaitable[Link]]:
    """`dial`; where `peer` records, its failures are written down."""
    return peer.dialling(dial) if isinstance(peer, RecordedPeer) else dial


def until(task: asyncio.Task[None], peer: Supervised) -> None:
    """The recording of `peer`, if there is one, ends with this task."""
    if isinstance(peer, RecordedPeer):
        task.add_done_callback(peer.over)


def over(peer: Peer) -> None:
    """The recording of `peer`, if there is one, ends."""
    if isinstance(peer, RecordedPeer):
        peer.over()


def _file(kind: Kind, asked: Asked, heard: AudioFormat, spoken: AudioFormat) -> RecordingFile | None:
    if asked.recorder is None:
        return None
    header = Header(
        kind=kind,
        model=asked.model,
        plugin=__version__,
        livekit=agents.__version__,
        host=asked.connection.endpoint(Service.UPLOAD).host,
        input_rate=heard.rate,
        output_rate=spoken.rate,
        input_format=heard.wire["type"],
        output_format=spoken.wire["type"],
    )
    return asked.recorder.begin(header)
