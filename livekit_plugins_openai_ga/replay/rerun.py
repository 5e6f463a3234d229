"""A recorded session once more, here and now: this plugin against the recorded server. Did it go the same way?"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike

from ..realtime import RealtimeModel
from ..recording.entries import Recording
from ..recording.reader import read
from ..stt import STT
from ..translation import Translator
from . import clock, wishes
from .players import Conversation, Interpreting, Player, Speech
from .server import NETWORK, PATIENCE_S, Replay
from .tape import APPENDS, ENDINGS, Difference, Tape
from .told import Told

SETTLE_S = 0.005
"""The client has this long to send by itself what the application is not asked for, then."""

LAST_WORDS_S = 1.0
"""How long after the last event of the recording somebody may still say something."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a recorded session went this time.

    Attributes:
        differences: From what was recorded, in the order of the recording; empty: as recorded.
        told: What the application was told, a line each, the same every time.
        asked: The calls that were made for the application.
        notes: What could not be played as it was, a sentence each.
    """

    differences: tuple[Difference, ...]
    told: tuple[str, ...]
    asked: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def as_recorded(self) -> bool:
        """Whether it went the same way."""
        return not self.differences


def rerun(
    recording: str | PathLike[str] | Recording,
    *,
    real_time: bool = False,
    patience: float = PATIENCE_S,
    realtime_model: type[RealtimeModel] = RealtimeModel,
    stt: type[STT] = STT,
    translator: type[Translator] = Translator,
) -> Run:
    """Run a recorded session again: the recorded server, and an application that does what the recorded one did.

    Not for a thread with a running event loop: it makes a loop of its own, on which time jumps over every wait. To this
    thread the clocks of the `time` module show that time; others see them as they are, and a second `rerun` waits.

    Args:
        recording: a file, or what `recording.reader.read` gave.
        real_time: let every second take a second.
        patience: seconds that the client may be late before the server goes on without it.
        realtime_model, stt, translator: your own subclasses, to be tried instead of the plugin's classes.

    Raises:
        ValueError: the file is no recording, has no session in it, or a line that cannot be played; says which.
        OSError: it cannot be opened.
    """
    recording = recording if isinstance(recording, Recording) else read(recording)
    tape = Tape(recording, waits_for_audio=True)
    server = Replay.of(tape, patience=patience)
    makers: Mapping[str, Callable[..., Player]] = {
        "realtime": functools.partial(Conversation, model=realtime_model),
        "stt": functools.partial(Speech, model=stt),
        "translation": functools.partial(Interpreting, model=translator),
    }
    return clock.run(_perform(server, tape, makers[recording.header.kind]), real_time=real_time)


async def _perform(server: Replay, tape: Tape, make: Callable[..., Player]) -> Run:
    told = Told()
    async with server:
        player = make(tape.recording, server.base_url, told)
        player.begin()
        await _Lead(server, tape, player).run()
        await player.aclose()
        await asyncio.sleep(SETTLE_S)
        await told.finish()
        _compare_ends(tape, told)
    differences = sorted(tape.differences, key=lambda difference: difference.t_ms)
    return Run(tuple(differences), tuple(told.lines), tuple(player.asked), tuple(notes(tape.recording)))


def _compare_ends(tape: Tape, told: Told) -> None:
    """The failure that ended the session, then and now. A stream of speech does not note whether it was its end."""
    last = next((n for n in reversed(range(len(tape.entries))) if tape.entries[n].event["type"] == "failed"), None)
    then = tape.entries[last].event.get("code") if last is not None and tape.is_final(last) else None
    if then in NETWORK and told.end is not None:
        return
    if then == told.end or (told.end is None and tape.recording.header.kind == "stt"):
        return
    entry = tape.entries[-1 if last is None else last]
    was, is_now = (f"ended with {code}" if code else "did not end by itself" for code in (then, told.end))
    tape.differ(entry.t_ms, entry.link, f"the session {was}, and now it {is_now}.")


class _Lead:
    """Goes through the recording, and lets the application do what the client does not do by itself."""

    def __init__(self, server: Replay, tape: Tape, player: Player) -> None:
        self._server = server
        self._tape = tape
        self._player = player
        self._automatic = wishes.automatic(tape.entries)
        self._fills_in = tape.recording.header.kind == "translation"

    async def run(self) -> None:
        """Once, to its end."""
        tape = self._tape
        for number, entry in enumerate(tape.entries):
            planned = entry.direction == "note" and entry.event.get("planned")
            if planned or entry.direction == "out":
                await self._server.turn(number)
                await self._do(number, planned=bool(planned))
        last = len(tape.entries)
        while not tape.over and await self._server.turn(last, ending=True):
            pass
        await asyncio.sleep(LAST_WORDS_S)

    async def _do(self, number: int, *, planned: bool) -> None:
        tape, entry = self._tape, self._tape.entries[number]
        now = asyncio.get_running_loop().time
        if not planned and entry.event["type"] in APPENDS:
            if self._fills_in:
                await asyncio.sleep(SETTLE_S)
            itself = (self._fills_in or entry.link > 1) and tape.heard(number)
            if number not in self._automatic and not itself:
                self._player.act(tape.event(number))
            tape.mark(number, now())
            self._server.stir()
            return
        await asyncio.sleep(SETTLE_S)
        if tape.done(number) or number in self._automatic:
            return
        if planned:
            self._player.renew()
        else:
            self._player.act(tape.event(number))


def notes(recording: Recording) -> list[str]:
    """What of a recording cannot be played as it was."""
    header, told = recording.header, []
    if header.redacted:
        told.append(
            "Texts were left out of the recording: each x stands for a character. What depends on words differs."
        )
    if not header.audio:
        told.append("Audio was left out of the recording: a tone of the same length is played instead.")
    if failed := sorted({str(e.event["code"]) for e in recording.entries if e.event.get("code") in NETWORK}):
        told.append(f"Where the network failed ({', '.join(failed)}), the server breaks the connection instead.")
    kinds = {entry.event["type"] for entry in recording.entries if entry.direction == "note"}
    if not kinds & ENDINGS and max((entry.link for entry in recording.entries), default=0) > 1:
        told.append("The recording does not say how connections were lost: they break without a word here.")
    return told
