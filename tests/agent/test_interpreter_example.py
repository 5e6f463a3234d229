"""examples/interpreter.py without a room: which interpreters are needed, and who hears them."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic

EXAMPLE = Path(__file__).parents[2] / "examples" / "interpreter.py"
GRACE = 10.0


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_interpreter", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Meeting:
    """People who come, go, mute and change their language, and what the desk makes of it."""

    def __init__(self, example: ModuleType) -> None:
        self.example = example
        self.desk = example.Desk(GRACE)
        self.people: dict[str, Any] = {}
        self.now = 100.0

    def person(self, name: str, language: str, *, microphone: str | None = None, muted: bool = False) -> None:
        sid = f"TR_{name}" if microphone is None else microphone
        self.people[name] = self.example.Person(language, sid, muted)

    def look(self, after: float = 0.0) -> tuple[set[str], set[str]]:
        self.now += after
        start, stop = self.desk.update(dict(self.people), self.now)
        return {f"{p.speaker}>{p.language}" for p in start}, {f"{p.speaker}>{p.language}" for p in stop}

    def pair(self, speaker: str, language: str, microphone: str | None = None) -> Any:
        return self.example.Pair(speaker, microphone or f"TR_{speaker}", language)

    def listeners(self, speaker: str, language: str) -> set[str]:
        return set(self.desk.listeners(self.pair(speaker, language)))


@pytest.fixture
def meeting(example: ModuleType) -> Meeting:
    made = Meeting(example)
    made.person("ann", "en")
    made.person("bea", "de")
    made.person("cem", "fr")
    return made


ALL = {"ann>de", "ann>fr", "bea>en", "bea>fr", "cem>en", "cem>de"}


def test_every_speaker_gets_an_interpreter_into_every_other_language_once(meeting: Meeting) -> None:
    meeting.person("dan", "de")
    assert meeting.look() == (ALL | {"dan>en", "dan>fr"}, set())
    assert meeting.look() == (set(), set())
    assert meeting.listeners("ann", "de") == {"bea", "dan"}
    assert meeting.listeners("bea", "en") == {"ann"}


def test_nobody_is_translated_into_their_own_language_or_alone(meeting: Meeting) -> None:
    meeting.people = {}
    meeting.person("ann", "en")
    assert meeting.look() == (set(), set())
    meeting.person("eve", "en")
    assert meeting.look() == (set(), set())


def test_without_a_language_one_is_heard_and_hears_without_interpreters(meeting: Meeting) -> None:
    meeting.people = {}
    meeting.person("ann", "en")
    meeting.person("pat", "")
    assert meeting.look() == (set(), set())


def test_who_has_no_microphone_only_listens(meeting: Meeting) -> None:
    meeting.people = {}
    meeting.person("ann", "en")
    meeting.person("bea", "de", microphone="")
    assert meeting.look() == ({"ann>de"}, set())


def test_an_interpreter_without_listeners_waits_for_one_to_come_back(meeting: Meeting) -> None:
    meeting.look()
    meeting.person("cem", "de")
    assert meeting.look() == (set(), set())
    assert meeting.listeners("ann", "fr") == set()
    assert meeting.listeners("ann", "de") == {"bea", "cem"}
    assert meeting.desk.next_look() == meeting.now + GRACE
    assert meeting.look(GRACE - 1) == (set(), set())
    meeting.person("cem", "fr")
    assert meeting.look() == (set(), set())  # all of them were still there
    assert meeting.desk.next_look() == math.inf
    meeting.person("cem", "de")
    meeting.look()
    assert meeting.look(GRACE) == (set(), {"ann>fr", "bea>fr", "cem>de"})
    assert meeting.desk.next_look() == math.inf


def test_a_speaker_who_changes_language_is_not_heard_twice_by_those_who_speak_it(meeting: Meeting) -> None:
    meeting.look()
    meeting.person("ann", "de")
    assert meeting.look() == (set(), set())
    assert meeting.listeners("ann", "de") == set()


def test_a_short_mute_changes_nothing_and_a_long_one_ends_the_interpreters(meeting: Meeting) -> None:
    meeting.look()
    meeting.person("ann", "en", muted=True)
    assert meeting.look() == (set(), set())
    meeting.person("ann", "en")
    assert meeting.look(GRACE - 1) == (set(), set())
    assert meeting.look(GRACE) == (set(), set())
    meeting.person("ann", "en", muted=True)
    meeting.look()
    assert meeting.look(GRACE) == (set(), {"ann>de", "ann>fr"})
    meeting.person("ann", "en")
    assert meeting.look() == ({"ann>de", "ann>fr"}, set())


def test_who_comes_muted_gets_an_interpreter_when_unmuted(meeting: Meeting) -> None:
    meeting.person("ann", "en", muted=True)
    assert "ann>de" not in meeting.look()[0]
    meeting.person("ann", "en")
    assert meeting.look() == ({"ann>de", "ann>fr"}, set())


def test_a_speaker_who_leaves_is_heard_out(meeting: Meeting) -> None:
    meeting.look()
    del meeting.people["ann"]
    assert meeting.look() == (set(), {"ann>de", "ann>fr"})
    assert meeting.listeners("ann", "de") == {"bea"}
    # Nobody listens to these any more, but somebody may come.
    assert meeting.look(GRACE) == (set(), {"bea>en", "cem>en"})


def test_a_microphone_that_is_published_anew_gets_new_interpreters(meeting: Meeting) -> None:
    meeting.look()
    meeting.person("ann", "en", microphone="TR_other")
    assert meeting.look() == ({"ann>de", "ann>fr"}, {"ann>de", "ann>fr"})


def test_one_that_failed_is_not_started_again_while_it_is_wanted(meeting: Meeting) -> None:
    meeting.look()
    meeting.desk.failed(meeting.pair("ann", "de"))
    assert meeting.look() == (set(), set())
    assert meeting.look(10 * GRACE) == (set(), set())
    meeting.person("bea", "es")
    meeting.look()
    meeting.person("bea", "de")
    assert "ann>de" in meeting.look()[0]


def test_one_that_lost_its_connection_is_tried_again(meeting: Meeting) -> None:
    meeting.look()
    meeting.desk.failed(meeting.pair("ann", "de"), meeting.now + 60.0)
    assert meeting.look() == (set(), set())
    assert meeting.desk.next_look() == meeting.now + 60.0
    assert meeting.look(60.0) == ({"ann>de"}, set())


@pytest.mark.parametrize("seed", range(200))
def test_whoever_comes_and_goes_each_needed_interpreter_works_once(meeting: Meeting, seed: int) -> None:
    chance = random.Random(seed)
    working: set[Any] = set()
    unneeded: dict[Any, float] = {}
    meeting.people = {}
    for _ in range(60):
        name = chance.choice(("ann", "bea", "cem", "dan"))
        if chance.random() < 0.2:
            meeting.people.pop(name, None)
        else:
            microphone = chance.choice(("", f"TR_{name}", f"TR_{name}", f"TR_{name}_again"))
            language = chance.choice(("", "en", "de", "fr"))
            meeting.person(name, language, microphone=microphone, muted=chance.random() < 0.3)
        if working and chance.random() < 0.1:
            failed = chance.choice(sorted(working))
            working.discard(failed)
            meeting.desk.failed(failed, meeting.now)  # it may be tried again at once
        meeting.now += chance.choice((0.0, 1.0, GRACE / 2, GRACE))
        start, stop = meeting.desk.update(dict(meeting.people), meeting.now)
        assert not start & working
        assert stop <= working
        working = (working | start) - stop
        needed = {
            meeting.pair(name, other.language, speaker.microphone)
            for name, speaker in meeting.people.items()
            for other in meeting.people.values()
            if speaker.microphone and speaker.language and not speaker.muted
            if other.language not in ("", speaker.language)
        }
        assert needed <= working
        unneeded = {pair: unneeded.get(pair, meeting.now) for pair in working - needed}
        assert all(meeting.now < since + GRACE for since in unneeded.values())
        assert meeting.desk.next_look() == min(unneeded.values(), default=math.inf) + GRACE
        for pair in working:
            wanted = {name for name, person in meeting.people.items() if person.language == pair.language}
            assert set(meeting.desk.listeners(pair)) == (set() if pair.speaker in wanted else wanted)


async def pieces(*texts: str | float) -> AsyncIterator[Any]:
    for text in texts:
        if isinstance(text, float):
            await asyncio.sleep(text)
        else:
            yield SimpleNamespace(text=text)


async def test_texts_are_told_at_once_and_a_pause_and_the_end_are_told_as_nothing(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "PAUSE", 0.01)
    told = [piece async for piece in example.paced(pieces("Guten", " Tag", 0.1, "Ja"))]
    assert [piece for n, piece in enumerate(told) if piece or told[n - 1]] == ["Guten", " Tag", "", "Ja", ""]


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ("Hello.", " How", True),
        ("Hello. ", "How", True),
        ("at 3.", "5 percent", False),
        ("好。", "你", True),
        ("a", " b", False),
    ],
)
def test_a_sentence_ends_where_the_next_one_begins(example: ModuleType, before: str, after: str, ends: bool) -> None:
    assert bool(example.SENTENCE_END.search(before[-2:] + after[:1])) == ends


# -- one interpreter, in a room of paper ---------------------------------------------------------------------------


class Microphone:
    """Says one sentence, then there is no more of it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Any]:
        pcm = synthetic("Good morning everybody")
        for start in range(0, len(pcm), 960):
            piece = pcm[start : start + 960]
            yield SimpleNamespace(frame=rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))

    async def aclose(self) -> None:
        pass


class Paper:
    """A room, what is written in it, and what may break while that is done."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks = breaks
        self.written: list[str] = []
        self.closed: list[dict[str, str]] = []
        self.identity = "agent"
        track = SimpleNamespace(track=None)
        self.room = SimpleNamespace(
            local_participant=self, remote_participants={"ann": SimpleNamespace(track_publications={"TR_ann": track})}
        )
        self.desk = SimpleNamespace(listeners=lambda pair: ["bea"])
        self.changed = asyncio.Event()

    async def publish_track(self, track: Any, options: Any) -> Any:
        return SimpleNamespace(sid="TR_voice")

    async def unpublish_track(self, sid: str) -> None:
        pass

    async def stream_text(self, **_: Any) -> Paper:
        if self.breaks == "open":
            raise ConnectionError("no text streams")
        return self

    async def write(self, text: str) -> None:
        self.written.append(text)
        if self.breaks == "write":
            raise ConnectionError("no text streams")

    async def aclose(self, *, attributes: dict[str, str]) -> None:
        self.closed.append(attributes)


@pytest.fixture
async def paper(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Paper]:
    monkeypatch.setattr(rtc, "AudioStream", Microphone)
    script = Script([Turn(heard="Good morning", say="Guten Morgen")])
    async with Emulator(script, knobs=Knobs(speak=synthetic, translation_speed=20.0)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        yield Paper()


FINAL = {"lk.transcription_final": "true"}


@pytest.mark.parametrize(("breaks", "closed"), [("", [FINAL] * 2), ("open", []), ("write", [FINAL] * 2)])
async def test_captions_that_fail_are_closed_and_do_not_end_the_voice(
    example: ModuleType, paper: Paper, breaks: str, closed: list[dict[str, str]]
) -> None:
    paper.breaks = breaks
    await asyncio.wait_for(example.Interpreter(paper, example.Pair("ann", "TR_ann", "de"), []).task, 30)
    assert paper.closed == closed


async def test_captions_wait_for_those_of_the_interpreter_before(example: ModuleType, paper: Paper) -> None:
    before = asyncio.ensure_future(asyncio.sleep(3600))
    interpreter = example.Interpreter(paper, example.Pair("ann", "TR_ann", "de"), [before])
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(interpreter.task), 1)
    assert paper.written == []
    before.cancel()
    await asyncio.wait_for(interpreter.task, 30)
    assert sorted("".join(paper.written)) == sorted("Guten Morgen" + "Good morning")


async def test_a_room_that_is_not_interpreted_any_more_is_told_and_left(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = asyncio.get_running_loop().create_future()

    async def connect(**_: Any) -> None:
        pass

    room = SimpleNamespace(on=lambda *_: None, remote_participants=None)  # which `run` cannot stand
    job = SimpleNamespace(
        room=room, connect=connect, shutdown=left.set_result, add_shutdown_callback=lambda close: None
    )
    await example.interpret(job)
    await asyncio.wait_for(left, 5)
    assert "nobody is interpreted any more" in caplog.text
