"""examples/interpreter.py in a real room: who hears whom in which language, and reads what."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import Caption, Ear, RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Turn

from .conftest import Microphone
from .example_call import EXAMPLES
from .worker import environment, running_worker

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

PAGE = Path(__file__).parents[2] / "docs" / "translation.md"

SAID = {"en": "Good morning to all of you.", "de": "Guten Morgen euch allen.", "fr": "Bonjour à vous tous."}
AGAIN = {"en": "Shall we begin with the plan?", "de": "Fangen wir mit dem Plan an?", "fr": "On commence par le plan ?"}
SCRIPT = {
    language: [Turn(heard=said["en"], say=said[language]) for said in (SAID, AGAIN, SAID, AGAIN)] for language in SAID
}


def follow_interpreters() -> Callable[[rtc.Room], None]:
    """What the page about translation shows to whoever writes a listener's client."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "def follow" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["follow_interpreters"]  # type: ignore[no-any-return]


class Member:
    """Somebody with a microphone in the room, who takes interpreters in place of speakers."""

    def __init__(self, caller: RoomCaller) -> None:
        self.caller = caller
        self.microphone = Microphone()

    async def speaks(self, language: str) -> None:
        await self.caller.room.local_participant.set_attributes({"language": language})

    def tracks(self) -> dict[str, rtc.RemoteTrackPublication]:
        """What is published for all, by name; a microphone by the identity of its speaker."""
        return {
            track.name if track.name.startswith("interpreter:") else participant.identity: track
            for participant in self.caller.room.remote_participants.values()
            for track in participant.track_publications.values()
        }

    def subscribed(self) -> set[str]:
        return {name for name, track in self.tracks().items() if track.subscribed}

    def ear(self, name: str) -> Ear:
        return self.caller.ears[self.tracks()[name].sid]

    def audible(self) -> set[str]:
        """The tracks of which anything was heard."""
        heard = {name: self.caller.ears.get(track.sid) for name, track in self.tracks().items()}
        return {name for name, ear in heard.items() if ear and ear.audible}

    def captions(self, track: str) -> list[Caption]:
        return [caption for caption in self.caller.captions.values() if caption.track_id == self.tracks()[track].sid]


@contextlib.asynccontextmanager
async def meeting(
    livekit: LiveKitServer, room: str, languages: Mapping[str, str], *, base_url: str
) -> AsyncIterator[dict[str, Member]]:
    """The example's worker, and one member for each identity and language."""
    follow = follow_interpreters()
    async with contextlib.AsyncExitStack() as stack:
        variables = environment(livekit, base_url)
        await stack.enter_async_context(running_worker(EXAMPLES / "interpreter.py", "dev", variables))
        members = {}
        for identity, language in languages.items():
            caller = await stack.enter_async_context(RoomCaller.join(livekit.url, livekit.token(identity, room)))
            members[identity] = member = Member(caller)
            follow(caller.room)
            await member.speaks(language)
            await caller.publish_microphone(member.microphone)
        for member in members.values():
            await member.caller.until(lambda member=member: member.caller.agent, timeout=60.0)
        yield members


def open_sessions(model: Emulator) -> list[str]:
    """The languages of the sessions that are not over."""
    return sorted(each.config["audio"]["output"]["language"] for each in model.sessions if each.closed is None)
