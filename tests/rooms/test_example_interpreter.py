"""examples/interpreter.py in a real room: who hears whom in which language, and reads what."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from types import ModuleType
from typing import Any

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import CloseOn
from tests.docs.programs import program

from . import sound
from .conftest import Microphone
from .example_call import EXAMPLES
from .worker import environment, running_worker

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

SAID = {
    "en": "Good morning to all of you, it is nice to see so many people here.",
    "de": "Guten Morgen euch allen, schön, dass so viele Leute hier sind.",
    "fr": "Bonjour à vous tous, je suis content de voir autant de monde ici.",
}
THEN = {
    "en": "Shall we begin with the plan for the winter, or is somebody missing?",
    "de": "Wollen wir mit dem Plan für den Winter anfangen, oder fehlt noch jemand?",
    "fr": "On commence par le plan pour cet hiver, ou est-ce que quelqu'un manque encore ?",
}
GRACE = 1.0


def script() -> Script:
    """In each language, the first who is interpreted says one thing and the next the other."""
    spoken = (SAID, THEN) * 5
    for text in (*SAID.values(), *THEN.values()):
        speak(text, "alloy", 1.0)  # kept by the voice: nobody waits for it
    return Script(
        translations={each: [Turn(heard=said["en"], say=said[each]) for said in spoken] for each in SAID},
    )


async def follow_interpreters() -> Callable[[rtc.Room], None]:
    """What the page about translation shows to whoever writes a listener's client."""
    return (await program("docs/translation.md"))["follow_interpreters"]  # type: ignore[no-any-return]


class Member:
    """Somebody with a microphone in the room, who takes interpreters in place of speakers."""

    def __init__(self, caller: RoomCaller) -> None:
        self.caller = caller
        self.microphone = Microphone()
        self.track: rtc.LocalTrackPublication | None = None
        self._judged: dict[str, int] = {}  # samples of a track up to which its words were looked at

    async def speaks(self, language: str) -> None:
        await self.caller.room.local_participant.set_attributes({"language": language})

    def sid(self, name: str) -> str:
        """The sid of an interpreter's track by its name, or of a microphone by the identity of its speaker."""
        return next(sid for sid, (known_as, _) in self._published().items() if known_as == name)

    async def gets(self, *names: str) -> None:
        """Wait until exactly these tracks are subscribed."""

        def got() -> set[str]:
            return {name for name, track in self._published().values() if track.subscribed}

        with contextlib.suppress(TimeoutError):
            await self.caller.until(lambda: got() == set(names))
        assert got() == set(names)

    def _published(self) -> dict[str, tuple[str, rtc.RemoteTrackPublication]]:
        return {
            track.sid: (participant.identity if track.name == "microphone" else track.name, track)
            for participant in self.caller.room.remote_participants.values()
            for track in participant.track_publications.values()
        }

    def read(self, sid: str) -> list[str]:
        """The final captions of a track."""
        return [each.text for each in self.caller.captions.values() if each.track_id == sid and each.final]

    def audible(self, sid: str) -> bool:
        """Whether anything was heard of a track."""
        return sid in self.caller.ears and self.caller.ears[sid].audible

    async def hears(self, sid: str, text: str) -> float:
        """Wait until this was read and heard as a track's next words, and no others.

        Returns how alike the sound was: 1.0 is perfectly, 0.0 when it does not even last as long.
        """
        original = sound.samples(speak(text, "alloy", 1.0))
        length, start = sound.seconds(original), self._judged.get(sid, 0)

        def heard() -> sound.Samples:
            return sound.samples(self.caller.ears[sid].pcm[start * 2 :])

        def over() -> bool:
            ear = self.caller.ears.get(sid)
            if ear is None or ear.began is None or not ear.audible:
                return False
            silent = len(ear.pcm) / 2 / sound.RATE - (ear.stretches()[-1][1] - ear.began)
            _, track = self._published().get(sid, ("", None))
            ended = silent > 1.0 or track is None or not track.subscribed
            # A worker that was held up goes on with the same words after more silence than that.
            return ended and sound.seconds(heard()) > 0.85 * length

        with contextlib.suppress(TimeoutError):
            await self.caller.until(over)
        await self.caller.until(lambda: self.read(sid)[-1:] == [text])
        words = heard()
        self._judged[sid] = start + len(words)
        if not 0.85 < sound.seconds(words) / length < 1.15:
            return 0.0
        return sound.likeness(sound.sounding(words), sound.sounding(original))


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_interpreter", EXAMPLES / "interpreter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextlib.asynccontextmanager
async def meeting(
    livekit: LiveKitServer, room: str, languages: Mapping[str, str], *, choosy: bool = True
) -> AsyncIterator[dict[str, Member]]:
    """One member for each identity and language, who speaks that and wants to hear it.

    `choosy`: they do what the page shows. Others subscribe to whatever they are allowed to.
    """
    follow = await follow_interpreters()
    async with contextlib.AsyncExitStack() as stack:
        members = {}
        for identity, language in languages.items():
            caller = await stack.enter_async_context(RoomCaller.join(livekit.url, livekit.token(identity, room)))
            members[identity] = member = Member(caller)
            if choosy:
                follow(caller.room)
            await member.speaks(language)
            member.track = await caller.publish_microphone(member.microphone)
        yield members


@contextlib.asynccontextmanager
async def interpreting(
    livekit: LiveKitServer, room: str, example: ModuleType, model: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """The example in this process, which waits no longer for anybody than a test can."""
    monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    agent = rtc.Room()
    interpreted = example.InterpretedRoom(agent, example.Desk(GRACE))
    await agent.connect(livekit.url, livekit.token("agent", room, agent=True))
    running = asyncio.create_task(interpreted.run())
    try:
        yield interpreted
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await agent.disconnect()


def sessions(model: Emulator) -> list[str]:
    """The languages of the sessions that are not over."""
    return sorted(each.config["audio"]["output"]["language"] for each in model.sessions if each.closed is None)


async def test_everybody_is_heard_in_each_listeners_language(livekit: LiveKitServer, room_name: str) -> None:
    async with (
        Emulator(script()) as model,
        running_worker(EXAMPLES / "interpreter.py", "dev", environment(livekit, model.base_url)),
        meeting(livekit, room_name, {"ann": "en", "bea": "de", "cem": "fr"}) as members,
    ):
        ann, bea, cem = members["ann"], members["bea"], members["cem"]
        await ann.caller.until(lambda: ann.caller.agent, timeout=60.0)
        assert ann.caller.agent is not None
        agent = ann.caller.agent.identity
        await ann.gets("interpreter:en:bea", "interpreter:en:cem")
        await bea.gets("interpreter:de:ann", "interpreter:de:cem")
        await cem.gets("interpreter:fr:ann", "interpreter:fr:bea")
        await model.wait_until(lambda: sessions(model) == ["de", "de", "en", "en", "fr", "fr"], timeout=30)
        de, fr, microphone = bea.sid("interpreter:de:ann"), cem.sid("interpreter:fr:ann"), bea.sid("ann")
        spoken = []
        for said in [SAID, THEN, SAID, THEN, SAID]:
            spoken.append(said["en"])
            ann.microphone.say(said["en"])
            alike = min(await bea.hears(de, said["de"]), await cem.hears(fr, said["fr"]))
            if alike > 0.9:  # a machine that is too busy tears holes into sound now and then
                break
        else:
            pytest.fail(f"bea and cem heard something else: {alike}")
        assert bea.read(microphone) == cem.read(microphone) == spoken
        assert {(c.identity, c.track_id) for c in bea.caller.captions.values()} == {("ann", microphone), (agent, de)}
        assert ann.caller.captions == {}
        bea.microphone.say(THEN["de"])
        assert await ann.hears(ann.sid("interpreter:en:bea"), SAID["en"])
        assert await cem.hears(cem.sid("interpreter:fr:bea"), (THEN if said is SAID else SAID)["fr"])
        # Nobody heard anything else.
        for member, heard in ((ann, "interpreter:en:bea"), (bea, "interpreter:de:ann")):
            assert {sid for sid in member.caller.ears if member.audible(sid)} == {member.sid(heard)}


async def test_who_changes_the_language_is_heard_and_hears_in_the_new_one(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de", "cem": "fr"}) as members,
    ):
        ann, bea, cem = members["ann"], members["bea"], members["cem"]
        await cem.gets("interpreter:fr:ann", "interpreter:fr:bea")
        await cem.speaks("de")
        # They understand each other now: no interpreter between them, and no new one for what bea has already.
        await cem.gets("interpreter:de:ann", "bea")
        await bea.gets("interpreter:de:ann", "cem")
        await model.wait_until(lambda: sessions(model) == ["de", "en", "en"])
        assert len(model.sessions) == 6
        ann.microphone.say(SAID["en"])
        assert await cem.hears(cem.sid("interpreter:de:ann"), SAID["de"])
        assert await bea.hears(bea.sid("interpreter:de:ann"), SAID["de"])
        assert [sid for sid in cem.caller.ears if cem.audible(sid)] == [cem.sid("interpreter:de:ann")]


async def test_who_leaves_is_heard_out(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de"}) as members,
    ):
        ann, bea = members["ann"], members["bea"]
        await bea.gets("interpreter:de:ann")
        track = bea.sid("interpreter:de:ann")
        ann.microphone.say(THEN["en"])
        await model.wait_until(lambda: bool(model.sent("session.output_transcript.delta")), timeout=20)
        await ann.caller.leave()
        assert await bea.hears(track, SAID["de"])
        await bea.gets()
        # Nobody is left to translate for.
        await model.wait_until(lambda: sessions(model) == [])
        assert len(model.received("session.close")) == len(model.sessions) == 2


async def test_a_long_mute_closes_the_session_and_speaking_again_opens_one(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de"}) as members,
    ):
        ann, bea = members["ann"], members["bea"]
        await bea.gets("interpreter:de:ann")
        await model.wait_until(lambda: sessions(model) == ["de", "en"])
        assert ann.track is not None
        assert isinstance(ann.track.track, rtc.LocalAudioTrack)
        ann.track.track.mute()
        await model.wait_until(lambda: sessions(model) == ["en"])
        await bea.gets("ann")
        ann.track.track.unmute()
        await bea.gets("interpreter:de:ann")
        ann.microphone.say(SAID["en"])
        assert await bea.hears(bea.sid("interpreter:de:ann"), SAID["de"])


async def test_nobody_gets_an_interpreter_into_another_language(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de", "cem": "klingon"}, choosy=False) as members,
    ):
        ann, bea, cem = members["ann"], members["bea"], members["cem"]
        await ann.gets("bea", "cem", "interpreter:en:bea", "interpreter:en:cem")
        await bea.gets("ann", "cem", "interpreter:de:ann", "interpreter:de:cem")
        await cem.gets("ann", "bea")  # there are none for cem, and the others do not mind
        ann.microphone.say(SAID["en"])
        assert await bea.hears(bea.sid("interpreter:de:ann"), SAID["de"])
        await cem.caller.until(lambda: cem.audible(cem.sid("ann")))
        assert cem.caller.captions == {}
        assert sessions(model) == ["de", "de", "en", "en"]


async def test_an_interpreter_that_fails_leaves_the_others_alone(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de"}) as members,
    ):
        ann, bea = members["ann"], members["bea"]
        await ann.gets("interpreter:en:bea")
        await bea.gets("interpreter:de:ann")
        quota = ("insufficient_quota", "You exceeded your current quota.")
        model.add_fault(CloseOn("session.input_audio_buffer.append", 4000, error=quota))
        await model.wait_until(lambda: len(sessions(model)) == 1)
        if sessions(model) == ["de"]:
            await ann.gets("bea")
            await bea.gets("interpreter:de:ann")
        else:
            await bea.gets("ann")
            await ann.gets("interpreter:en:bea")
        assert len(model.sessions) == 2


async def test_a_connection_that_is_lost_while_somebody_speaks_is_not_noticed(
    livekit: LiveKitServer, room_name: str, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Emulator(script()) as model,
        interpreting(livekit, room_name, example, model, monkeypatch),
        meeting(livekit, room_name, {"ann": "en", "bea": "de"}) as members,
    ):
        ann, bea = members["ann"], members["bea"]
        await bea.gets("interpreter:de:ann")
        ann.microphone.say(THEN["en"])
        await model.wait_until(lambda: bool(model.sent("session.output_transcript.delta")), timeout=20)
        await model.drop()
        assert await bea.hears(bea.sid("interpreter:de:ann"), SAID["de"])
        assert len(model.sessions) == 4
