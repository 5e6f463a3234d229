"""LiveKit's view of the conversation: objects that stay, and contexts that are known again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents import llm

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.history import History
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.images import Images
from livekit_plugins_openai_ga.realtime import mapping
from livekit_plugins_openai_ga.realtime.pictures import Pictures
from livekit_plugins_openai_ga.realtime.shown import Shown
from livekit_plugins_openai_ga.wire.server_events import from_payload

from .conftest import needs_handoffs

PICTURES = Pictures(Images())
PIXEL = rtc.VideoFrame(8, 8, rtc.VideoBufferType.RGBA, bytes(8 * 8 * 4))
SPEECH = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}


class Server:
    """Does what a history asks for, at once."""

    def __init__(self, history: History) -> None:
        self.history = history

    def sync(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """The events that were sent."""
        sent = [e.event for e in self.history.sync(records, "key", connected=True) if isinstance(e, fx.Send)]
        for event in sent:
            if event["type"] == "conversation.item.delete":
                self.history.deleted(event["item_id"])
            else:
                previous = event["previous_item_id"]
                self.says(event["item"], None if previous == "root" else previous)
        return sent

    def says(self, item: dict[str, Any], previous: str | None) -> None:
        payload = {"type": "conversation.item.added", "item": item, "previous_item_id": previous}
        event: Any = from_payload(payload)
        self.history.added(event, 1.0)

    def speech(self, item_id: str) -> None:
        self.says({"id": item_id, **SPEECH}, self.history.mirror.last_id)

    def transcript(self, item_id: str, text: str) -> None:
        def transcribed(record: Record) -> Record:
            return replace(record.with_item(record.item.with_transcript(0, text)), transcribed=True)

        self.history.mirror.revise(item_id, transcribed)


class View(Server):
    """What LiveKit sees of such a history."""

    def __init__(self) -> None:
        super().__init__(History())
        self.shown = Shown(self.history.mirror)

    def update(self, *items: llm.ChatItem) -> list[str]:
        """Hand a context back; the kinds and ids of what was sent."""
        sent = self.sync(self.shown.records(items, PICTURES.part))
        return [f"{e['type'].split('.')[-1]} {e.get('item_id') or e['item']['id']}" for e in sent]


@pytest.fixture
def view() -> View:
    return View()


def message(item_id: str, *content: Any, role: Any = "user") -> llm.ChatMessage:
    return llm.ChatMessage(id=item_id, role=role, content=list(content))


def test_an_item_is_the_same_object_until_it_changes(view: View) -> None:
    view.update(message("a", "one"))
    view.speech("u1")
    a, u1 = view.shown.items()
    view.update(a, u1, message("b", "two"))
    again = view.shown.items()
    assert [item.id for item in again] == ["a", "u1", "b"]
    assert (again[0] is a, again[1] is u1) == (True, True)
    view.transcript("u1", "hello")
    spoken = view.shown.items()[1]
    assert isinstance(spoken, llm.ChatMessage)
    assert (spoken.content, u1.content) == (["hello"], [])


def test_a_change_in_front_leaves_the_objects_behind_it(view: View) -> None:
    view.update(message("a", "one"))
    view.speech("u1")
    _, u1 = view.shown.items()
    view.update(u1)
    assert view.shown.items()[0] is u1


def test_the_list_is_the_callers_own(view: View) -> None:
    view.update(message("a", "one"))
    view.shown.items().clear()
    assert len(view.shown.items()) == 1


def test_what_was_shown_comes_back_as_the_very_records(view: View) -> None:
    view.update(message("a", "one"), message("b", "two"))
    view.speech("u1")
    call = llm.FunctionCall(id="c", call_id="c", name="f", arguments="{}")
    records = view.shown.records([*view.shown.items(), call], PICTURES.part)
    assert [record is known for record, known in zip(records, view.history.mirror, strict=False)] == [True] * 3
    assert records[3].origin is call


def test_a_copy_of_what_was_shown_is_known_by_its_text(view: View) -> None:
    view.update(message("a", "one"), message("b", "two"))
    call = llm.FunctionCall(id="c", call_id="c", name="f", arguments="{}")
    view.update(*view.shown.items(), call)
    copies = [item.model_copy() for item in view.shown.items()]
    records = view.shown.records(copies, PICTURES.part)
    assert all(record is known for record, known in zip(records, view.history.mirror, strict=True))


def rebind(item: llm.ChatMessage) -> None:
    item.content = ["other"]


def put_in(item: llm.ChatMessage) -> None:
    item.content[0] = "other"


def add(item: llm.ChatMessage) -> None:
    item.content.append("more")


@pytest.mark.parametrize("edit", [rebind, put_in, add])
@pytest.mark.parametrize("own", [False, True], ids=["of the server", "of the caller"])
def test_an_object_that_was_edited_in_place_is_noticed(view: View, own: bool, edit: Any) -> None:
    if own:
        view.update(message("x", "text"))
    else:
        view.speech("x")
        view.transcript("x", "text")
    view.update(*view.shown.items(), message("b", "two"))
    x, b = view.shown.items()
    edit(x)
    assert view.update(x, b) == ["delete x", "create x"]
    assert view.shown.items()[0].content == x.content  # type: ignore[union-attr]
    assert view.update(*view.shown.items()) == []


def test_an_edit_of_a_turn_in_which_nothing_was_said_is_noticed(view: View) -> None:
    view.speech("x")
    view.transcript("x", "")
    (x,) = view.shown.items()
    rebind(x)  # type: ignore[arg-type]
    assert view.update(x) == ["delete x", "create x"]


def test_an_edit_behind_a_new_item_is_noticed(view: View) -> None:
    view.update(message("a", "one"), message("b", "two"))
    a, b = view.shown.items()
    rebind(b)  # type: ignore[arg-type]
    assert view.update(message("n", "new"), a, b) == ["create n", "delete b", "create b"]


def test_pictures_and_sounds_are_not_compared(view: View) -> None:
    tone = rtc.AudioFrame(bytes(960), 24000, 1, 480)
    picture = llm.ImageContent(image=PIXEL)
    sound = llm.AudioContent(frame=[tone], transcript="beep")
    view.update(message("p", "Look:", picture), message("s", sound), message("e", ""))
    p, s, *_ = items = view.shown.items()
    records = view.shown.records([*items, message("n", "new")], PICTURES.part)
    assert records[:2] == list(view.history.mirror)
    assert isinstance(p, llm.ChatMessage)
    assert isinstance(s, llm.ChatMessage)
    sound.transcript = "boop"
    assert view.update(p, s) == ["delete s", "create s"]
    p.content[0] = "Look here:"
    assert view.update(p, s) == ["delete p", "create p"]


@needs_handoffs
def test_instructions_and_handoffs_are_left_out(view: View) -> None:
    instructions = message("lk.agent_task.instructions", "be nice", role="system")
    context = [instructions, message("a", "one"), llm.AgentHandoff(new_agent_id="b"), message("b", "two")]
    assert view.update(*context) == ["create a", "create b"]
    assert view.update(*context, message("c", "three")) == ["create c"]
    assert len(context) == 4


def test_what_livekit_has_no_word_for_is_not_shown(view: View) -> None:
    view.update(message("a", "one"))
    view.says({"id": "t", "type": "message", "role": "tool", "content": []}, "a")
    view.update(*view.shown.items(), message("b", "two"))
    assert [item.id for item in view.shown.items()] == ["a", "b"]


def test_a_record_that_is_forgotten_is_not_mistaken_for_another(view: View) -> None:
    """Objects are found by the identity of their records, which a new one can get when an old one is gone."""
    for number in range(50):
        view.update(message("a", "one"), message("b", f"{number}"))
        view.shown.items()
        for item_id in ("a", "b"):
            view.history.mirror.revise(item_id, lambda record: replace(record, origin=None))
        texts = [item.content for item in view.shown.items()]  # type: ignore[union-attr]
        assert texts == [["one"], [f"{number}"]]


kinds = st.sampled_from(["keep", "keep", "keep", "copy", "edit", "drop", "empty", "front"])
steps = st.one_of(
    st.tuples(st.just("update"), st.lists(kinds, max_size=12), st.integers(0, 2)),
    st.tuples(st.just("speech"), st.just([]), st.just(0)),
    st.tuples(st.just("transcript"), st.just([]), st.integers(0, 5)),
)


def handled(items: Sequence[llm.ChatItem], fates: Sequence[str]) -> list[llm.ChatItem]:
    """A context as an application leaves it."""
    context: list[llm.ChatItem] = []
    for place, item in enumerate(items):
        fate = fates[place] if place < len(fates) else "keep"
        if fate == "drop":
            continue
        # One whose text never came shows what it was edited to, until that comes.
        untold = isinstance(item, llm.ChatMessage) and not item.content
        if fate in ("copy", "empty") or untold:
            item = item.model_copy()
        if isinstance(item, llm.ChatMessage) and fate in ("edit", "empty"):
            item.content = [*item.content, "!"] if fate == "edit" else []
        context.insert(0 if fate == "front" else len(context), item)
    return context


@given(st.lists(steps, max_size=8))
def test_the_server_is_told_the_same_as_if_every_item_was_mapped(happened: list[tuple[str, list[str], int]]) -> None:
    view, plain = View(), Server(History())
    made = 0
    for name, fates, number in happened:
        if name == "update":
            context = handled(view.shown.items(), fates)
            for _ in range(number):
                made += 1
                context.append(message(f"m{made}", f"text {made}"))
            every = [record for item in context if (record := mapping.to_record(item, PICTURES.part)) is not None]
            assert view.sync(view.shown.records(context, PICTURES.part)) == plain.sync(every)
        elif name == "speech":
            made += 1
            for server in (view, plain):
                server.speech(f"u{made}")
        else:
            spoken = [record.id for record in view.history.mirror if record.is_user_speech]
            for server in (view, plain) if number < len(spoken) else ():
                server.transcript(spoken[number], "said")
        shown = [(item.id, getattr(item, "content", None)) for item in view.shown.items()]
        again = [mapping.to_chat_item(record) for record in plain.history.mirror]
        assert shown == [(item.id, getattr(item, "content", None)) for item in again if item is not None]
