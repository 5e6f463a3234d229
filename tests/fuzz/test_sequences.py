"""Events and calls in any order: nothing raises, every request is answered once, every reply ends once."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.call import CallConversation
from livekit_plugins_openai_ga.core.conversation import Conversation
from livekit_plugins_openai_ga.core.hearing import Hearing
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.core.setup import Phase
from livekit_plugins_openai_ga.errors import from_close
from livekit_plugins_openai_ga.wire import server_events as ev
from livekit_plugins_openai_ga.wire.items import Item
from livekit_plugins_openai_ga.wire.session import realtime_payload

WANTED = realtime_payload(
    input_options={"turn_detection": {"type": "server_vad"}},
    output_options={"voice": "marin"},
    options={"instructions": "be nice", "tools": []},
)
CODES = (
    *("conversation_already_has_active_response", "response_cancel_not_active", "item_create_duplicate_item_id"),
    *("item_delete_invalid_item_id", "input_audio_buffer_commit_empty", "invalid_value", "server_error", "unheard_of"),
    *("invalid_api_key", "session_expired", "rate_limit_exceeded", "audio_already_shorter", ""),
)

# -- what the server can say: few ids, so that events meet ----------------------------------------------------------

item_ids = st.sampled_from(["i0", "i1", "i2", ""])
response_ids = st.sampled_from(["r0", "r0", "r1", ""])
texts = st.sampled_from(["", " ", "hello", "hello there", "\ud800", "AAAA", "="])
places = st.sampled_from([0, 1, 90, 400, 2000, 10**15, -5])
usages = st.sampled_from([None, {}, {"total_tokens": 3}, {"type": "tokens", "total_tokens": -1}, {"type": "duration"}])
errors = st.fixed_dictionaries(
    {"code": st.sampled_from(CODES), "message": texts},
    optional={
        "param": st.sampled_from([None, "session.voice", "item.id"]),
        "type": st.sampled_from(["invalid_request_error", "server_error", ""]),
        "event_id": st.sampled_from([None, "k0", "k1", "session_1", "item_1", "commit_1", "cancel_1"]),
    },
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "audio", "input_audio", "output_text", "new"])},
    optional={"text": texts, "transcript": texts | st.none(), "audio": texts},
)
items = st.fixed_dictionaries(
    {
        "id": item_ids,
        "type": st.sampled_from(["message", "function_call", "function_call_output", "mcp_call"]),
    },
    optional={
        "role": st.sampled_from(["user", "assistant", "system"]),
        "status": st.sampled_from(["in_progress", "completed", "incomplete"]),
        "content": st.lists(parts, max_size=2),
        "name": texts,
        "call_id": item_ids,
        "arguments": texts,
        "output": texts,
    },
)
responses = st.fixed_dictionaries(
    {"id": response_ids},
    optional={
        "status": st.sampled_from(["in_progress", "completed", "cancelled", "failed", "incomplete", "new"]),
        "status_details": st.none()
        | st.fixed_dictionaries({"reason": texts}, optional={"error": errors, "type": texts}),
        "conversation_id": st.sampled_from([None, "c"]),
        "metadata": st.none() | st.fixed_dictionaries({"client_event_id": st.sampled_from(["k0", "k1", "k2", 5])}),
        "usage": usages,
    },
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "session": st.sampled_from([{}, WANTED, {"audio": None}, {"audio": {"input": {"turn_detection": None}}}]),
    "error": errors,
    "item": items,
    "item_id": item_ids,
    "previous_item_id": item_ids | st.none(),
    "response": responses,
    "response_id": response_ids,
    "part": parts,
    "delta": texts,
    "transcript": texts,
    "content_index": st.sampled_from([0, 1, -1, 10**9]),
    "audio_start_ms": places,
    "audio_end_ms": places,
    "start_time": st.sampled_from([0.0, 1.5, -1.0]),
    "usage": usages,
    "event_id": st.just("event_1"),
    "logprobs": st.sampled_from([None, [], [{"logprob": -0.5}], [{"logprob": "x"}], [{}]]),
    "rate_limits": st.lists(
        st.fixed_dictionaries({"name": texts, "limit": places, "remaining": st.none()}), max_size=2
    ),
    "languages": st.sampled_from([None, [], [{"code": "en"}], [{"code": 5}], ["en"]]),
}


def event(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    fields = {key: FIELDS[key] for key in (field.name for field in dataclasses.fields(ev.EVENTS[name]))}
    return st.fixed_dictionaries(fields).map(lambda given: ("receive", {"type": name, **given}))


events = st.sampled_from(sorted(ev.EVENTS)).flatmap(event)
other_events = st.sampled_from([{"type": "rate_limits.updated"}, {"type": "new"}, {"type": "error"}, {}])
answers = st.tuples(st.just("answer"), st.integers(0, 9))  # as a server does, to one of the events on their way
refusals = st.tuples(st.just("refuse"), st.integers(0, 9), st.sampled_from(CODES))
of_the_line = st.sampled_from([("opened",), ("opened",), ("closed",)])

records = st.builds(
    lambda item_id, role, text: Record(
        Item(item_id, "message", role=role, content=({"type": "input_text", "text": text},) if text else ()), 0.0
    ),
    st.sampled_from(["i0", "i1", "i2", "mine"]),
    st.sampled_from(["user", "assistant"]),
    st.sampled_from(["", "hello"]),
)
calls = st.one_of(
    st.tuples(st.just("ask"), st.booleans(), st.booleans()),
    st.tuples(st.just("begin"), st.booleans(), st.booleans()),
    st.tuples(st.just("give_up"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("sync"), st.lists(records, max_size=3, unique_by=lambda record: record.id)),
    st.tuples(
        st.just("truncate"),
        st.lists(item_ids, min_size=1, max_size=2),
        st.booleans(),
        st.sampled_from([0, 40, 10**6]),
        st.sampled_from([None, "", "hel"]),
    ),
    st.tuples(st.just("configure"), st.sampled_from(["a", "b"]), st.booleans()),
    st.sampled_from([("interrupt",), ("show",), ("leave",), ("leave",), ("rest",)]),
)
# A message of the newest reply, as it comes: opened, told what it is, filled, closed.
said = st.tuples(st.just("say"), item_ids, st.sampled_from(["audio", "text"]), st.integers(1, 7))
steps = st.one_of(
    *(events, events, answers, answers, answers, refusals, calls, calls, said, said, of_the_line),
    other_events.map(lambda payload: ("receive", payload)),
)

# -- a conversation --------------------------------------------------------------------------------------------------


class Player:
    """Plays steps to a conversation as its shell would, and keeps the books on what it is told."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.now = 0.0
        self.effects: list[fx.Effect] = []
        self.waiting: list[dict[str, Any]] = []  # requests for replies that have not left
        self.flying: list[dict[str, Any]] = []  # what the server has not answered
        self.resting: list[str] = []
        self.ids: dict[str, str] = {}  # no server gives a reply the id of another
        self.asked: list[str] = []
        self.given_up: set[str] = set()
        self.others: list[str] = []  # keys of syncs and configurations

    def note(self, effects: list[fx.Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, fx.Send):
                to = self.waiting if effect.event["type"] == "response.create" else self.flying
                to.append(json.loads(json.dumps(effect.event)))
            elif isinstance(effect, fx.ReplyAgain) and effect.delay:
                self.resting.append(effect.key)
            elif isinstance(effect, fx.AudioTaken) and effect.item_id:
                self.conversation.took(effect.item_id, [b"\0\0"])
            elif isinstance(effect, fx.Withdraw):
                self.resting = [key for key in self.resting if key != effect.event_id]
                kept = [event for event in self.waiting if event["event_id"] != effect.event_id]
                if kept != self.waiting:
                    self.waiting = kept
                    self.note(self.conversation.answers.withdrawn(effect.event_id))

    def play(self, step: tuple[Any, ...]) -> None:
        self.now += 0.1
        getattr(self, step[0])(*step[1:])

    def receive(self, payload: dict[str, Any]) -> None:
        self.note(self.conversation.receive(ev.from_payload(self.renamed(payload)), self.now))

    def renamed(self, payload: dict[str, Any]) -> dict[str, Any]:
        response = payload.get("response") or {}
        name = str(response.get("id", payload.get("response_id")))
        known = self.ids.get(name)
        if payload.get("type") == "response.created" and self.conversation.answers.replies.get(known or "") is None:
            self.ids[name] = f"{name} {len(self.effects)} {len(self.ids)}"
        names = {"response_id": self.ids.get(name, name)} if "response_id" in payload else {}
        return {**payload, **names, **({"response": {**response, "id": self.ids.get(name, name)}} if response else {})}

    def begin(self, aside: bool, played: bool) -> None:
        self.ask(aside, played)
        self.leave()
        self.answer(len(self.flying) - 1)

    def say(self, item_id: str, kind: str, parts: int) -> None:
        item = {"id": item_id, "type": "message", "role": "assistant"}
        written = {"type": "response.output_text.delta", "delta": "hello"}
        spoken = [
            {"type": "response.output_audio_transcript.delta", "delta": "hello"},
            {"type": "response.output_audio.delta", "delta": "AAAA"},
        ]
        if self.conversation.answers.replies.get(next(reversed(self.ids.values()), "")) is None:
            self.receive({"type": "response.created", "response": {"id": "r0", "conversation_id": "c"}})
        names = {"response_id": next(reversed(self.ids), ""), "item_id": item_id}
        for event in [
            {"type": "response.output_item.added", "item": item},
            {"type": "conversation.item.added", "item": item},
            {"type": "response.content_part.added", "part": {"type": kind}},
            *(spoken if kind == "audio" else [written, written]),
            {"type": "response.output_item.done", "item": item},
            {"type": "response.done", "response": {"id": names["response_id"], "status": "completed"}},
        ][:parts]:
            self.receive({**names, **event})

    def leave(self) -> None:
        leaving, self.waiting = self.waiting, []
        for event in leaving:
            self.conversation.answers.left(event["event_id"])
            self.flying.append(event)

    def rest(self) -> None:
        for key in (rested := self.resting):
            self.note(self.conversation.answers.rested(key))
        self.resting = [key for key in self.resting if key not in rested]

    def opened(self) -> None:
        self.closed()
        self.note(self.conversation.opened(self.now))

    def closed(self) -> None:
        if self.conversation.phase is not Phase.CLOSED:
            self.flying.clear()
            self.waiting.clear()
            self.note(self.conversation.closed(self.now))

    def answer(self, number: int) -> None:
        if not self.flying:
            return
        sent = self.flying.pop(number % len(self.flying))
        answer: dict[str, Any] = {
            "session.update": {"type": "session.updated", "session": sent.get("session")},
            "conversation.item.create": {
                "type": "conversation.item.added",
                "item": sent.get("item"),
                "previous_item_id": sent.get("previous_item_id"),
            },
            "conversation.item.delete": {"type": "conversation.item.deleted", "item_id": sent.get("item_id")},
            "response.cancel": {
                "type": "response.done",
                "response": {"id": sent.get("response_id"), "status": "cancelled"},
            },
            "response.create": {
                "type": "response.created",
                "response": {
                    "id": f"of {sent['event_id']}",
                    "metadata": (sent.get("response") or {}).get("metadata"),
                    "conversation_id": (sent.get("response") or {}).get("conversation", "c"),
                },
            },
        }.get(sent["type"], {"type": "conversation.item.truncated"})
        self.receive(answer)

    def refuse(self, number: int, code: str) -> None:
        if self.flying:
            sent = self.flying.pop(number % len(self.flying))
            self.receive({"type": "error", "error": {"code": code, "message": "no", "event_id": sent["event_id"]}})

    def ask(self, aside: bool, played: bool) -> None:
        self.asked.append(f"k{len(self.asked)}")
        self.note(self.conversation.answers.ask(self.asked[-1], {}, aside=aside, played=aside and played))

    def give_up(self, number: int) -> None:
        if self.asked:
            key = self.asked[number % len(self.asked)]
            self.given_up.add(key)
            self.note(self.conversation.answers.give_up(key, self.now))

    def cancel(self, number: int) -> None:
        told = [effect.response_id for effect in self.effects if isinstance(effect, fx.ReplyStarted)]
        if told:
            self.note(self.conversation.answers.cancel(told[number % len(told)], self.now))

    def sync(self, target: list[Record]) -> None:
        self.others.append(f"sync {len(self.others)}")
        self.note(self.conversation.sync(target, self.others[-1]))

    def configure(self, instructions: str, waits: bool) -> None:
        key = f"configure {len(self.others)}" if waits else None
        self.others += [key] if key is not None else []
        self.note(self.conversation.configure({**WANTED, "instructions": instructions}, key))

    def truncate(self, ids: list[str], spoken: bool, end_ms: int, heard: str | None) -> None:
        self.note(self.conversation.truncate(*ids, spoken=spoken, audio_end_ms=end_ms, heard=heard))

    def interrupt(self) -> None:
        self.note(self.conversation.interrupt(self.now))

    def show(self) -> None:
        self.note(self.conversation.show({"type": "message", "role": "user", "content": []}))

    def abandon(self) -> None:
        self.note(self.conversation.abandon(from_close(1006, ""), self.now))


def check_requests(player: Player) -> None:
    settled = Counter(effect.key for effect in player.effects if isinstance(effect, fx.Settled))
    started = Counter(e.key for e in player.effects if isinstance(e, fx.ReplyStarted) and e.key is not None)
    assert all(settled[key] == 1 for key in player.others), f"each once: {player.others}, {settled}"
    own = {key for key in (*settled, *started) if not key.startswith("again")}
    assert own <= {*player.asked, *player.others}
    for key in player.asked:
        assert settled[key] + started[key] <= 1, f"{key} was answered twice"
        assert settled[key] + started[key] == 1 or key in player.given_up, f"{key} was never answered"


def check_replies(effects: list[fx.Effect]) -> None:
    live: dict[str, set[str]] = {}
    for effect in effects:
        if isinstance(effect, fx.ReplyStarted):
            assert effect.response_id not in live, "a live reply began again"
            live[effect.response_id] = set()
        elif isinstance(effect, fx.MessageStarted):
            assert effect.item_id not in live[effect.response_id]
            live[effect.response_id].add(effect.item_id)
        elif isinstance(effect, (fx.MessageText, fx.MessageAudio)):
            assert effect.item_id in live[effect.response_id], "a message that is not open goes on"
        elif isinstance(effect, fx.MessageEnded):
            live[effect.response_id].remove(effect.item_id)
        elif isinstance(effect, fx.FunctionCalled):
            assert effect.response_id in live
            assert effect.item.status in ("", "completed")
        elif isinstance(effect, fx.ReplyEnded):
            assert live.pop(effect.response_id) == set(), "a reply ended before its messages"
    assert live == {}, "replies without an end"


@pytest.mark.parametrize("kind", [Conversation, CallConversation])
@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(steps, min_size=8, max_size=60))
def test_a_conversation_stands_any_order(kind: type[Conversation], ready: bool, played: list[tuple[Any, ...]]) -> None:
    player = Player(kind(WANTED))
    player.opened()
    if ready:
        player.answer(0)
    for step in played:
        player.play(step)
    player.abandon()
    check_requests(player)
    check_replies(player.effects)
    ids = [record.id for record in player.conversation.mirror]
    assert len(ids) == len(set(ids))


# -- speech to text --------------------------------------------------------------------------------------------------

heard = st.one_of(
    *(events, events, events, answers, answers, refusals, of_the_line),
    st.tuples(st.just("put"), st.sampled_from([20.0, 500.0, 40_000.0])),
    st.tuples(st.just("speech"), st.booleans()),
    st.tuples(st.just("detect"), st.booleans(), st.booleans()),
    st.tuples(st.just("tick"), st.sampled_from([0.1, 3.0, 60.0])),
    st.tuples(st.just("configure"), st.sampled_from(["a", "b"])),
    st.sampled_from([("flush",), ("flush",), ("finish",)]),
)


class Listener:
    """Plays steps to a `Hearing` as its session would."""

    def __init__(self, server_turns: bool, local_vad: bool) -> None:
        self.hearing = Hearing(
            WANTED, server_turns=server_turns, local_vad=local_vad, max_segment_ms=30_000, place=lambda ms: ms
        )
        self.now = self.put_ms = 0.0
        self.effects: list[fx.Effect] = []
        self.flying: list[dict[str, Any]] = []
        self.commits: list[dict[str, Any]] = []  # sent again on each connection, as an outbox does
        self.made = 0

    @property
    def finished(self) -> bool:
        return any(isinstance(effect, fx.Finished) for effect in self.effects)

    def note(self, effects: list[fx.Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, (fx.Send, fx.CommitAudio, fx.ClearAudio)):
                self.flying.append(json.loads(json.dumps(effect.event)))
                self.hearing.sent(effect.event["event_id"], self.now)
            if isinstance(effect, fx.CommitAudio):
                self.commits.append(effect.event)
        assert (self.hearing.due() or 0.0) < float("inf")

    def play(self, step: tuple[Any, ...]) -> None:
        if self.finished:
            return  # whoever listens hangs up
        self.now += 0.05
        name, *given = step
        if hasattr(self, name):
            getattr(self, name)(*given)
        else:
            self.note(getattr(self.hearing, name)(self.now))

    def receive(self, payload: dict[str, Any]) -> None:
        self.note(self.hearing.receive(ev.from_payload(payload), self.now))

    def opened(self) -> None:
        self.closed()
        if self.finished:
            return
        self.note(self.hearing.opened(self.now))
        for commit in self.commits:
            self.hearing.sent(commit["event_id"], self.now)
            self.flying.append(commit)

    def closed(self) -> None:
        if self.hearing.phase is not Phase.CLOSED:
            self.flying.clear()
            self.note(self.hearing.closed(self.now))

    def answer(self, number: int) -> None:
        if not self.flying:
            return
        sent = self.flying.pop(number % len(self.flying))
        if sent["type"] == "session.update":
            self.receive({"type": "session.updated", "session": sent["session"]})
        elif sent["type"] == "input_audio_buffer.commit":
            self.made += 1
            self.receive({"type": "input_audio_buffer.committed", "item_id": f"made {self.made}"})

    def refuse(self, number: int, code: str) -> None:
        if self.flying:
            sent = self.flying.pop(number % len(self.flying))
            self.receive({"type": "error", "error": {"code": code, "message": "no", "event_id": sent["event_id"]}})

    def put(self, ms: float) -> None:
        self.put_ms += ms
        self.note(self.hearing.put(self.put_ms, self.now))

    def speech(self, speaking: bool) -> None:
        self.note(self.hearing.speech(speaking, self.put_ms, self.now))

    def detect(self, server_turns: bool, local_vad: bool) -> None:
        self.note(self.hearing.detect(server_turns=server_turns, local_vad=local_vad))

    def configure(self, prompt: str) -> None:
        self.note(self.hearing.configure({**WANTED, "instructions": prompt}, f"configure {len(self.effects)}"))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.note(self.hearing.tick(self.now))


def check_captions(listener: Listener) -> None:
    speaking = False
    for effect in listener.effects:
        if isinstance(effect, fx.Speech):
            assert effect.speaking is not speaking, "told twice"
            speaking = effect.speaking
    finished = [n for n, effect in enumerate(listener.effects) if isinstance(effect, fx.Finished)]
    assert finished == [len(listener.effects) - 1], "it is told once, and nothing behind it"
    assert not speaking


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.booleans(), st.lists(heard, min_size=8, max_size=60))
def test_speech_to_text_stands_any_order(server_turns: bool, local_vad: bool, played: list[tuple[Any, ...]]) -> None:
    listener = Listener(server_turns, local_vad)
    listener.opened()
    for step in played:
        listener.play(step)
    listener.play(("opened",))
    listener.play(("finish",))
    for _ in range(60):  # a server that says nothing more is waited for, not for ever
        listener.play(("tick", 60.0))
    check_captions(listener)
