"""Writes what sessions say and hear: one file of JSON lines for each, which only its owner can read.

Lines are collected, and written once a second or when there are 64 KiB of them: one call of the system, and no thread.
What was collected is written when the session ends or the process does, unless it is killed. A disk that is full, or a
file that was deleted, ends a recording with one warning; the call goes on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Literal

from ..log import logger
from ..wire import codec
from .entries import Direction, Header
from .pieces import Pieces
from .scrub import AUDIO_DELTAS, Scrub

FLUSH_S = 1.0
"""What a killed process may lose."""

FLUSH_BYTES = 64 * 1024

_YES_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)

_TRIES = 8
"""Of a name that no other file has; each is one of 16 million in that second."""

_open: weakref.WeakSet[RecordingFile] = weakref.WeakSet()


_watched: set[int] = set()
"""Processes whose end is waited for: this one, or its parent, too, when it was forked."""


def _flush_all() -> None:
    for file in list(_open):
        file.flush()


def _watch_end() -> None:
    """Write at the end of this process what was collected. `atexit` is not asked in a child of `multiprocessing`."""
    if os.getpid() not in _watched:
        _watched.add(os.getpid())
        Finalize(None, _flush_all, exitpriority=0)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where sessions are recorded, and what of them. Pass it as `recorder=` to any number of models.

    Attributes:
        directory: Where the files go; made when the first session begins, for its owner only (0700). The files are,
            too (0600). A local disk: what is written is waited for.
        audio: Keep audio and pictures as they are on the wire: 64 kB/s for each direction that somebody speaks in.
            Default False: length and hash.
        redact: Leave out every text that somebody said or wrote; its length stays. Default False. Speech is not text:
            with `audio=True` it is in the file.

    Raises:
        ValueError: an argument that cannot be used; names it and says what to do.
    """

    directory: str | os.PathLike[str]
    audio: bool = field(default=False, kw_only=True)
    redact: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.directory, (str, os.PathLike)) or not os.fspath(self.directory):
            raise ValueError(f"directory={self.directory!r} is no path: pass the folder that recordings go to.")
        for name in ("audio", "redact"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} is not supported: use True or False.")

    def begin(self, header: Header) -> RecordingFile | None:
        """Open the file of a session; None, after a warning, when that is impossible.

        `at`, `audio` and `redacted` of the header are filled in here.
        """
        at = time.time()
        header = replace(header, at=round(at, 3), audio=self.audio, redacted=self.redact)
        try:
            path, descriptor = self._create(header, at)
        except (OSError, ValueError, RuntimeError) as exc:  # RuntimeError: the home of a user that there is not
            told = "nothing is recorded: %s cannot be written (%s); name a folder that can be, or give it room"
            logger.warning(told, self.directory, getattr(exc, "strerror", None) or exc)
            return None
        scrub = Scrub(self.audio, self.redact, header.input_format, header.output_format)
        return RecordingFile(path, descriptor, header, scrub)

    def _create(self, header: Header, at: float) -> tuple[Path, int]:
        directory = Path(self.directory).expanduser()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        for left in reversed(range(_TRIES)):
            path = directory / f"{stamp}-{header.kind}-{secrets.token_hex(3)}.jsonl"
            try:
                return path, os.open(path, _NEW, 0o600)
            except FileExistsError:
                if not left:
                    raise
        raise AssertionError("unreachable")


def from_environment() -> Recorder | None:
    """The recorder that `$OPENAI_GA_RECORD` asks for; None: it asks for none.

    Raises ValueError when `$OPENAI_GA_RECORD_AUDIO` or `$OPENAI_GA_RECORD_REDACT` is neither yes nor no.
    """
    directory = os.environ.get("OPENAI_GA_RECORD", "")
    if not directory:
        return None
    return Recorder(directory, audio=_flag("OPENAI_GA_RECORD_AUDIO"), redact=_flag("OPENAI_GA_RECORD_REDACT"))


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value and value not in _YES_NO:
        raise ValueError(f"{name}={value!r} is not known: use 1 or 0.")
    return _YES_NO.get(value, False)


RecorderOption = Recorder | Literal[False] | None
"""None: as the environment says. False: never."""


def chosen(option: RecorderOption) -> Recorder | None:
    """The recorder that an option stands for; None: there is none. Raises ValueError for anything else."""
    if option is None:
        return from_environment()
    if option is False:
        return None
    if not isinstance(option, Recorder):
        raise ValueError(f"recorder={option!r} is not supported: pass Recorder('folder'), or False to record nothing.")
    return option


class RecordingFile:
    """One session's file. Nothing here raises."""

    def __init__(self, path: Path, descriptor: int, header: Header, scrub: Scrub) -> None:
        self.path = path
        self.redacts = scrub.redact
        """Whether texts are left out."""
        self._descriptor: int | None = descriptor
        self._process = os.getpid()
        self._scrub = scrub
        self._pieces = Pieces()
        self._began = time.monotonic()
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.link = 0
        """The connection that entries are of."""
        _open.add(self)
        _watch_end()
        self._add(codec.dumps(asdict(header)) + b"\n")

    def write(self, direction: Direction, event: Mapping[str, Any], secrets: Iterable[str] = ()) -> None:
        """Add an entry. `secrets` are the keys in use, as `redaction.traces` gives them."""
        if self._descriptor is None:
            return
        try:
            self._entry(direction, event if direction == "note" else self._scrubbed(event, tuple(secrets)))
        except Exception:  # an event of the application's own, or of no server we know: the call must go on
            self._entry("note", {"type": "unwritable", "direction": direction})

    def _scrubbed(self, event: Mapping[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
        written = self._scrub(event, secrets)
        if isinstance(written.get("delta"), str) and event.get("type") not in AUDIO_DELTAS:
            written["delta"] = self._pieces.next(event, secrets)
        return written

    def _entry(self, direction: Direction, event: Mapping[str, Any]) -> None:
        at = (time.monotonic() - self._began) * 1000
        self._add(b'{"t":%.3f,"link":%d,"%b":%b}\n' % (at, self.link, direction.encode(), codec.dumps(event)))

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if self._descriptor is None or os.getpid() != self._process:  # a forked process has its parent's lines
            return
        data = memoryview(b"".join(lines))
        try:
            if data and not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "it was deleted")
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as exc:
            self._let_go()
            told = "the recording %s ends here, the session goes on: it cannot be written (%s)"
            logger.warning(told, self.path, exc.strerror or exc)

    def close(self) -> None:
        """The session is over: write the rest."""
        if self._descriptor is not None:
            self.write("note", {"type": "closed"})
            self.flush()
            self._let_go()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _open.discard(self)
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as exc:
                logger.warning("the recording %s may lack its end (%s)", self.path, exc.strerror or exc)
