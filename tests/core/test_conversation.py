"""The conversation as a whole: phases, configuration, errors, user turns, interruption, and any order of events."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.conversation import Conversation, Phase
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.realtime.streams import PIECES
from livekit_plugins_openai_ga.wire import server_events as ev
from livekit_plugins_openai_ga.wire.server_events import RateLimit

from .conftest import PCM_100_MS

OVER = Failure(Kind.FATAL, "invalid_api_key", "", "m", "r")


# -- configuration ---------------------------------------------------------------------------------------------------


def test_a_session_is_ready_when_its_configuration_is_confirmed(new: Any) -> None:
    new.opens()
    (update,) = new.sent
    assert (update["type"], update["session"]) == ("session.update", new.conversation.config.wanted)
    assert new.all(fx.Ready) == []
    new.says("session.updated", session=update["session"])
    assert new.all(fx.Ready) == [fx.Ready(again=False)]


def test_only_a_session_that_was_ready_before_is_ready_again(new: Any) -> None:
    new.opens()
    new.loses_connection()
    new.ready()
    new.loses_connection()
    new.ready()
    assert [ready.again for ready in new.all(fx.Ready)] == [False, True]


def test_the_whole_configuration_goes_to_each_connection(talk: Any) -> None:
    talk.configures(instructions="be brief")
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert talk.sent[0]["session"]["instructions"] == "be brief"
    assert talk.sent[0]["session"]["type"] == "realtime"


def test_a_first_configuration_that_is_refused_ends_the_session(new: Any) -> None:
    """The session would talk on with the server's defaults: another voice, no instructions, no tools."""
    new.opens()
    new.refuses(new.sent[0], "unknown_parameter", param="session.bogus")
    (disconnect,) = new.all(fx.Disconnect)
    assert (disconnect.failure.kind, disconnect.failure.param) == (Kind.FATAL, "session.bogus")
    assert new.conversation.phase is Phase.CONFIGURING


def test_a_later_update_that_is_refused_is_rolled_back_and_its_request_told(talk: Any) -> None:
    before = talk.conversation.config.wanted
    talk.configures("k1", instructions="be brief" * 1000, tools=[{"name": "look_up"}])
    talk.refuses(talk.sent[0], "string_above_max_length", "too long", param="session.instructions")
    assert talk.told == ["ConfigRefused", "Settled"]
    settled = talk.effects[-1]
    assert (settled.key, settled.failure.message) == ("k1", "too long")
    assert talk.conversation.config.wanted == before
    assert talk.conversation.phase is Phase.READY


def test_a_refused_update_nobody_waits_for_is_reported(talk: Any) -> None:
    talk.configures(instructions="be brief")
    talk.refuses(talk.sent[0], "invalid_value")
    assert talk.told == ["ConfigRefused", "Report"]


def test_a_request_is_done_when_the_server_confirmed_it(talk: Any) -> None:
    talk.configures("k1", instructions="be brief")
    assert talk.all(fx.Settled) == []
    talk.says("session.updated", session={})
    assert talk.all(fx.Settled) == [fx.Settled("k1")]


def test_a_request_that_changes_nothing_is_done_at_once(talk: Any) -> None:
    assert talk.configures("k1") == [fx.Settled("k1")]


def test_a_request_for_what_is_on_its_way_waits_for_it(talk: Any) -> None:
    talk.configures(instructions="be brief")
    assert talk.configures("k1", instructions="be brief") == []
    talk.says("session.updated", session={})
    assert talk.all(fx.Settled) == [fx.Settled("k1")]


def test_a_change_nobody_waits_for_settles_nothing(talk: Any) -> None:
    talk.configures()
    talk.loses_connection()
    talk.configures(instructions="be brief")
    talk.ready()
    assert talk.all(fx.Settled) == []


def test_a_request_made_while_disconnected_is_done_with_the_next_configuration(new: Any) -> None:
    assert new.configures("k1", instructions="be brief") == []
    new.ready()
    assert new.all(fx.Settled) == [fx.Settled("k1")]


def test_a_value_the_server_did_not_keep_is_told(talk: Any) -> None:
    talk.configures(audio={"output": {"voice": "cedar"}})
    talk.forget()
    talk.says("session.updated", session={"audio": {"output": {"voice": "alloy"}}})
    assert talk.all(fx.ConfigDiffers) == [fx.ConfigDiffers({"audio.output.voice": ("cedar", "alloy")})]


def test_a_confirmation_of_something_not_ours_changes_nothing(talk: Any) -> None:
    assert talk.says("session.updated", session={"audio": {"output": {"voice": "alloy"}}}) == []


def test_server_turn_detection_follows_what_is_wanted(talk: Any) -> None:
    assert talk.conversation.server_vad
    talk.configures(audio={"input": {"turn_detection": None}})
    assert not talk.conversation.server_vad


# -- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_no_retry_can_cure_ends_the_connection(talk: Any) -> None:
    talk.refuses({}, "invalid_api_key")
    assert [effect.failure.kind for effect in talk.all(fx.Disconnect)] == [Kind.FATAL]


def test_an_expired_session_is_replaced(talk: Any) -> None:
    talk.refuses({}, "session_expired", "Your session hit the maximum duration of 60 minutes.")
    assert [effect.failure.kind for effect in talk.all(fx.Disconnect)] == [Kind.RECONNECT]


def test_an_empty_commit_is_harmless_while_the_server_commits_itself(talk: Any) -> None:
    talk.refuses({}, "input_audio_buffer_commit_empty")
    assert talk.told == ["Noticed"]


def test_what_is_refused_and_belongs_to_nobody_is_reported(talk: Any) -> None:
    talk.refuses({"event_id": "an application's"}, "invalid_value", "no such thing")
    assert [effect.failure.message for effect in talk.all(fx.Report)] == ["no such thing"]


def test_what_is_not_understood_is_counted_and_the_call_goes_on(talk: Any) -> None:
    talk.says("response.hologram.delta")
    talk.says("response.done")
    talk.says("input_audio_buffer.cleared")
    assert [(effect.what, effect.detail) for effect in talk.effects] == [
        ("unknown event", "response.hologram.delta"),
        ("malformed event", "response.done: 'response' is missing"),
    ]


def test_limits_are_passed_on(talk: Any) -> None:
    talk.says("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 100, "remaining": 40}])
    assert talk.effects == [fx.RateLimits((RateLimit("tokens", 100, 40),))]


def test_silence_that_becomes_an_item_is_told(talk: Any) -> None:
    talk.says("input_audio_buffer.timeout_triggered", item_id="u1", audio_start_ms=100, audio_end_ms=5100)
    assert talk.effects == [fx.InputTimeout("u1", 100, 5100)]


# -- user turns ------------------------------------------------------------------------------------------------------


def test_speech_is_told_with_its_time_and_its_audio_is_in_good_hands(talk: Any) -> None:
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=300)
    talk.says("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    talk.user_turn("u1")
    assert talk.effects[:3] == [fx.SpeechStarted("u1"), fx.SpeechStopped("u1"), fx.AudioTaken(900, "u1", 300)]


def test_a_commit_without_the_end_of_speech_answers_one_of_ours(talk: Any) -> None:
    talk.user_turn("u1")
    assert talk.all(fx.AudioTaken) == [fx.AudioTaken(None, "u1", 0)]


def test_a_turn_without_a_transcript_is_brought_back_as_audio(talk: Any) -> None:
    talk.user_turn("u1")
    talk.conversation.took("u1", [bytes(4800)])
    talk.loses_connection()
    talk.forget()
    talk.opens()
    (create,) = talk.sent_of("conversation.item.create")
    assert create["item"]["content"] == [{"type": "input_audio", "audio": PCM_100_MS}]


def test_a_partial_transcript_is_final_here_and_goes_along_with_the_audio(talk: Any) -> None:
    talk.user_turn("u1")
    talk.conversation.took("u1", [bytes(4800)])
    talk.says("conversation.item.input_audio_transcription.delta", item_id="u1", content_index=0, delta="Hel")
    talk.loses_connection()
    talk.opens()
    (create,) = talk.sent_of("conversation.item.create")
    assert create["item"]["content"] == [{"type": "input_audio", "audio": PCM_100_MS, "transcript": "Hel"}]
    assert talk.texts == {"u1": "Hel"}


def test_a_turn_with_a_transcript_needs_no_audio(talk: Any) -> None:
    talk.user_turn("u1")
    talk.conversation.took("u1", [bytes(4800)])
    talk.transcript("u1", "Hello")
    talk.loses_connection()
    talk.opens()
    (create,) = talk.sent_of("conversation.item.create")
    assert create["item"]["content"] == [{"type": "input_text", "text": "Hello"}]


def test_a_turn_whose_item_was_not_told_in_time_is_told_and_brought_back(talk: Any) -> None:
    talk.says("input_audio_buffer.committed", item_id="u1", previous_item_id=None)
    talk.conversation.took("u1", [bytes(4800)])
    talk.loses_connection()
    assert [placed.record.id for placed in talk.all(fx.ItemPlaced)] == ["u1"]
    talk.opens()
    (create,) = talk.sent_of("conversation.item.create")
    assert create["item"]["id"] == "u1"


def test_a_turn_is_open_from_its_first_word_until_the_server_has_an_item_of_it(talk: Any) -> None:
    turns = talk.conversation.turns
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=300)
    assert turns.open
    talk.says("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    assert turns.open
    assert not turns.speaking
    talk.says("input_audio_buffer.committed", item_id="u1")
    assert not turns.open


def test_whatever_is_refused_by_name_may_be_a_commit(talk: Any) -> None:
    talk.refuses({"event_id": "commit_1"}, "input_audio_buffer_commit_empty")
    talk.refuses({"event_id": "commit_2"}, "invalid_value")
    assert talk.all(fx.CommitRefused) == [fx.CommitRefused("commit_1"), fx.CommitRefused("commit_2")]


def test_a_transcript_grows_and_is_final_once(talk: Any) -> None:
    talk.now = 5.0
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    talk.now = 7.0
    talk.user_turn("u1")
    for delta in ("hello", "", " there"):
        talk.says("conversation.item.input_audio_transcription.delta", item_id="u1", delta=delta)
    talk.transcript("u1", "Hello there.")
    assert talk.all(fx.Transcript) == [
        fx.Transcript("u1", "hello", False),
        fx.Transcript("u1", "hello there", False),
        fx.Transcript("u1", "Hello there.", True, None, 5.0),
    ]
    assert talk.texts == {"u1": "Hello there."}


def test_confidence_comes_from_the_server_or_not_at_all(talk: Any) -> None:
    talk.user_turn("u1")
    talk.transcript("u1", "hello", logprobs=[{"logprob": 0.0}])
    assert talk.all(fx.Transcript)[0].confidence == 1.0
    assert talk.conversation.mirror.get("u1").confidence == 1.0


def test_a_transcript_that_comes_twice_is_shown_and_billed_once(talk: Any) -> None:
    talk.user_turn("u1")
    for _ in range(2):
        talk.transcript("u1", "hello", event_id="event_9", usage={"type": "duration", "seconds": 3.2})
    talk.says("conversation.item.input_audio_transcription.delta", item_id="u1", delta="hello")
    talk.says("conversation.item.input_audio_transcription.failed", item_id="u1", error={"code": "x"})
    assert [effect.final for effect in talk.all(fx.Transcript)] == [True]
    (billed,) = talk.all(fx.TranscriptionBilled)
    assert (billed.event_id, billed.usage.seconds) == ("event_9", 3.2)


def test_a_transcript_that_comes_after_the_reply_finds_its_turn(talk: Any) -> None:
    talk.user_turn("u1")
    talk.reply("r1", "a1", "hi", "u1")
    talk.user_turn("u2", "a1")
    talk.transcript("u2", "second")
    talk.transcript("u1", "first")
    assert talk.texts == {"u1": "first", "a1": "hi", "u2": "second"}


def test_a_failed_transcript_leaves_the_partial_one_final(talk: Any) -> None:
    """Whoever shows the partial text waits for a final one."""
    talk.user_turn("u1")
    talk.says("conversation.item.input_audio_transcription.delta", item_id="u1", delta="hel")
    error = {"type": "transcription_error", "code": "audio_unintelligible", "message": "no"}
    talk.says("conversation.item.input_audio_transcription.failed", item_id="u1", error=error)
    talk.user_turn("u2", "u1")
    talk.says("conversation.item.input_audio_transcription.failed", item_id="u2", error=error)
    assert [effect.item_id for effect in talk.all(fx.TranscriptionFailed)] == ["u1", "u2"]
    assert talk.all(fx.Transcript)[1:] == [fx.Transcript("u1", "hel", True)]
    assert talk.texts == {"u1": "hel", "u2": ""}


def test_text_of_one_turn_never_leaks_into_the_next(talk: Any) -> None:
    """hashintel/hash#9356"""
    for item_id, delta in (("u1", "one"), ("u2", "two"), ("u1", " more")):
        talk.says("conversation.item.input_audio_transcription.delta", item_id=item_id, delta=delta)
    assert [effect.text for effect in talk.all(fx.Transcript)] == ["one", "two", "one more"]


def test_a_lost_connection_makes_partial_texts_final_unless_their_audio_is_sent_again(talk: Any) -> None:
    talk.user_turn("u1")
    for item_id in ("u1", "not committed"):
        talk.says("conversation.item.input_audio_transcription.delta", item_id=item_id, delta="hel")
    talk.forget()
    talk.loses_connection()
    assert talk.effects == [fx.Transcript("u1", "hel", True)]
    talk.opens()
    assert talk.sent[1]["item"]["content"] == [{"type": "input_text", "text": "hel"}]


# -- video ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_shown_only_to_a_session_that_is_ready(new: Any) -> None:
    parts = [{"type": "input_image", "image_url": "data:"}]
    picture = {"id": "video_frame_1", "type": "message", "role": "user", "content": parts}
    assert new.conversation.show(picture) == []
    new.ready()
    (send,) = new.conversation.show(picture)
    assert (send.event["type"], send.event["item"]) == ("conversation.item.create", picture)


# -- the end ---------------------------------------------------------------------------------------------------------


def test_giving_up_ends_every_reply_and_fails_every_request_once(talk: Any, message: Any) -> None:
    talk.begins("r1")
    talk.asks("reply")
    talk.syncs("items", [message("a")])
    talk.configures("config", instructions="x")
    talk.forget()
    talk.note(talk.conversation.abandon(OVER, 1.0))
    assert sorted(effect.key for effect in talk.all(fx.Settled)) == ["config", "items", "reply"]
    assert {effect.failure for effect in talk.all(fx.Settled)} == {OVER}
    assert len(talk.all(fx.ReplyEnded)) == 1
    assert talk.conversation.abandon(OVER, 2.0) == []


# -- any order -------------------------------------------------------------------------------------------------------

REPLIES = st.sampled_from(["r1", "r2", "aside"])
ITEMS = st.sampled_from(["a1", "a2", "f1", "u1"])
KEYS = st.sampled_from(["k1", "k2", "k3"])
STATUSES = st.sampled_from(["completed", "cancelled", "incomplete", "failed", "", "odd"])
PCM = b64encode(bytes(480)).decode()


def _item(item_id: str, status: str) -> dict[str, Any]:
    kind = "function_call" if item_id == "f1" else "message"
    return {"id": item_id, "type": kind, "role": "assistant", "status": status, "call_id": "c", "name": "f"}


def _event(name: str, **fields: Any) -> ev.ServerEvent:
    return ev.from_payload({"type": name, **fields})


def _response(name: str) -> Any:
    def make(reply: str, key: str | None, status: str) -> ev.ServerEvent:
        metadata = {"client_event_id": key} if key is not None else None
        response = {"id": reply, "status": status, "metadata": metadata}
        return _event(name, response={**response, "conversation_id": None if reply == "aside" else "conv"})

    return st.builds(make, REPLIES, st.none() | KEYS, STATUSES)


def _delta(name: str, delta: str) -> Any:
    return st.builds(lambda r, i: _event(name, response_id=r, item_id=i, delta=delta), REPLIES, ITEMS)


def _items(name: str) -> Any:
    return st.builds(
        lambda r, i, s, p: _event(name, response_id=r, item=_item(i, s), previous_item_id=p),
        REPLIES,
        ITEMS,
        STATUSES,
        st.none() | ITEMS,
    )


def _transcription(name: str, **fields: Any) -> Any:
    name = f"conversation.item.input_audio_transcription.{name}"
    return st.builds(lambda i, c: _event(name, item_id=i, content_index=c, **fields), ITEMS, st.integers(-1, 2))


CODES = ["invalid_value", "conversation_already_has_active_response", "item_create_duplicate_item_id", "server_error"]
server_events = st.one_of(
    _response("response.created"),
    _response("response.done"),
    _items("response.output_item.added"),
    _items("response.output_item.done"),
    _items("conversation.item.added"),
    st.builds(lambda i: _event("conversation.item.deleted", item_id=i), ITEMS),
    st.builds(
        lambda r, i, t: _event("response.content_part.added", response_id=r, item_id=i, part={"type": t}),
        REPLIES,
        ITEMS,
        st.sampled_from(["text", "audio"]),
    ),
    _delta("response.output_text.delta", "x"),
    _delta("response.output_audio_transcript.delta", "x"),
    _delta("response.output_audio.delta", PCM),
    _delta("response.output_audio.delta", "!"),
    _transcription("delta", delta="x"),
    _transcription("completed", transcript="x"),
    _transcription("failed"),
    st.builds(lambda i: _event("input_audio_buffer.committed", item_id=i), ITEMS),
    st.builds(lambda i: _event("input_audio_buffer.speech_started", item_id=i), ITEMS),
    st.just(_event("session.updated", session={"tools": ["odd"], "audio": 3})),
    st.builds(
        lambda code, event_id: _event("error", error={"code": code, "event_id": event_id}),
        st.sampled_from(CODES),
        st.none()
        | KEYS
        | st.builds(lambda kind, n: f"{kind}_{n}", st.sampled_from(["item", "session"]), st.integers(1, 9)),
    ),
    st.sampled_from([ev.Ignored("x"), ev.Unknown("x"), ev.Malformed("x", "y")]),
)
actions = st.one_of(
    st.tuples(st.just("receive"), server_events),
    st.tuples(st.just("receive"), server_events),  # most of what happens is the server's doing
    st.tuples(st.sampled_from(["ask", "ask aside", "give up"]), KEYS),
    st.tuples(st.just("cut"), ITEMS),
    st.tuples(st.sampled_from(["reconnect", "interrupt", "configure", "sync"]), st.none()),
)


class Watch:
    """Does one action after another and checks what must hold of the effects, whatever the order."""

    def __init__(self) -> None:
        self.conversation = Conversation({"type": "realtime", "instructions": "", "tools": []})
        self.now = 0.0
        self.live: dict[str, set[str]] = {}  # reply -> messages that are open
        self.asked: Counter[str] = Counter()
        self.serial = 0
        self.check(self.conversation.opened(self.now))

    def act(self, action: str, argument: Any) -> None:
        conversation, self.now = self.conversation, self.now + 1
        self.serial += 1
        if action == "receive":
            self.check(conversation.receive(argument, self.now))
        elif action == "reconnect":
            self.check(conversation.closed(self.now), connected=False)
            self.check(conversation.opened(self.now))
        elif action.startswith("ask"):
            self.check(conversation.answers.ask(argument, {}, aside=action == "ask aside"))
        elif action == "give up":
            self.check(conversation.answers.give_up(argument, self.now))
        elif action == "cut":
            self.check(conversation.truncate(argument, spoken=True, audio_end_ms=5, heard="x"))
        elif action == "interrupt":
            self.check(conversation.answers.interrupt(self.now))
        elif action == "configure":
            wanted = {**conversation.config.wanted, "instructions": str(self.serial)}
            self.check(conversation.configure(wanted, f"config {self.serial}"))
        else:
            self.check(conversation.sync(list(conversation.mirror)[::-1], f"sync {self.serial}"))

    def check(self, effects: list[fx.Effect], *, connected: bool = True) -> None:
        for effect in effects:
            if isinstance(effect, fx.ReplyStarted):
                assert effect.response_id not in self.live
                self.live[effect.response_id] = set()
            elif isinstance(effect, fx.ReplyEnded):
                assert self.live.pop(effect.response_id) == set()
            elif isinstance(effect, fx.MessageStarted):
                assert effect.item_id not in self.live[effect.response_id]
                self.live[effect.response_id].add(effect.item_id)
            elif isinstance(effect, fx.MessageEnded):
                self.live[effect.response_id].remove(effect.item_id)
            elif isinstance(effect, (fx.MessageText, fx.MessageAudio)):
                assert effect.item_id in self.live[effect.response_id]
            elif isinstance(effect, fx.FunctionCalled):
                assert effect.response_id in self.live
                assert effect.item.status in ("", "completed")
            elif isinstance(effect, fx.Send):
                assert connected
                if effect.event["type"] == "response.create":
                    assert self.conversation.phase is Phase.READY

    def finish(self) -> None:
        self.check(self.conversation.abandon(OVER, self.now), connected=False)
        assert self.live == {}


@settings(deadline=None)
@given(st.lists(actions, max_size=60))
def test_no_order_of_events_raises_and_everything_that_starts_ends_once(story: list[tuple[str, Any]]) -> None:
    watch = Watch()
    for action, argument in story:
        watch.act(action, argument)
    watch.finish()


pieces = st.one_of(
    *(_delta(f"response.output_{name}.delta", "x") for name in ("text", "audio_transcript")),
    _delta("response.output_audio.delta", PCM),
)


@settings(deadline=None)
@given(st.lists(st.one_of(server_events, pieces, pieces), max_size=40))
def test_effects_that_end_in_a_piece_of_a_reply_are_nothing_but_pieces(story: list[ev.ServerEvent]) -> None:
    """Who applies them looks at the last one only."""
    conversation = Conversation({"type": "realtime"})
    conversation.opened(0.0)
    begun = [
        _event("response.created", response={"id": "r1", "conversation_id": "conv"}),
        *(_event("response.output_item.added", response_id="r1", item=_item(i, "in_progress")) for i in ("a1", "a2")),
    ]
    for event in [*begun, *story]:
        effects = conversation.receive(event, 0.0)
        if effects and type(effects[-1]) in PIECES:
            assert {type(effect) for effect in effects} <= {fx.MessageStarted, *PIECES}
