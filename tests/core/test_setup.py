"""How a connection gets its configuration, and what becomes of changes that the server takes, keeps or refuses."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.config import TOLD_AHEAD
from livekit_plugins_openai_ga.core.setup import Phase, Setup
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.wire.server_events import SessionUpdated
from livekit_plugins_openai_ga.wire.session import Payload, difference, merge, transcription_payload

from .conftest import WANTED


def payload(prompt: str) -> Payload:
    transcription = {"model": "gpt-transcribe", "prompt": prompt}
    return transcription_payload({"transcription": transcription, "turn_detection": None}, {})


class Server:
    """A `Setup` and a server that answers its updates in order."""

    def __init__(self, prompt: str = "one") -> None:
        serial = itertools.count(1)
        self.setup = Setup(payload(prompt), lambda kind: f"{kind}_{next(serial)}")
        self.has: Payload = {}
        self.updates: list[dict[str, Any]] = []

    def _sent(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        self.updates += [effect.event for effect in effects if isinstance(effect, fx.Send)]
        return effects

    def opened(self) -> list[fx.Effect]:
        self.has, self.updates = {}, []
        return self._sent(self.setup.opened())

    def opened_ahead(self, prompt: str) -> list[fx.Effect]:
        """It was told a configuration with this prompt before, and has not answered."""
        self.has, self.updates = {}, [{"event_id": TOLD_AHEAD, "session": payload(prompt)}]
        return self._sent(self.setup.opened(payload(prompt)))

    def configure(self, prompt: str, key: str | None = None) -> list[fx.Effect]:
        return self._sent(self.setup.configure(payload(prompt), key))

    def accepts(self, **kept: Any) -> list[fx.Effect]:
        self.has = merge(self.has, self.updates.pop(0)["session"])
        return self.setup.updated(SessionUpdated(merge(self.has, kept)))

    def refuses(self, *, named: bool = True) -> list[fx.Effect] | None:
        effects = self.setup.refused(refusal(self.updates.pop(0)["event_id"] if named else None))
        return effects if effects is None else self._sent(effects)

    @property
    def prompt(self) -> str:
        return str(self.has["audio"]["input"]["transcription"]["prompt"])

    @property
    def wanted(self) -> str:
        return str(self.setup.config.wanted["audio"]["input"]["transcription"]["prompt"])


def refusal(event_id: str | None, param: str | None = "session.audio.input.transcription.prompt") -> Failure:
    return errors.from_server_error(
        "invalid_value", "invalid_request_error", "No.", param=param, client_event_id=event_id
    )


def ready() -> Server:
    server = Server()
    server.opened()
    server.accepts()
    return server


def test_a_connection_that_was_configured_ahead_is_sent_nothing_and_ready_with_the_answer() -> None:
    server = Server("one")
    assert server.opened_ahead("one") == []
    assert server.setup.phase is Phase.CONFIGURING
    assert server.accepts() == [fx.Ready(again=False)]
    assert server.setup.phase is Phase.READY


def test_what_was_not_known_ahead_is_sent_and_waited_for() -> None:
    server = Server("two")
    (sent,) = server.opened_ahead("one")
    assert isinstance(sent, fx.Send)
    assert sent.event["session"] == difference(payload("one"), payload("two"))
    assert server.accepts() == []
    assert server.setup.phase is Phase.CONFIGURING
    assert server.accepts() == [fx.Ready(again=False)]
    assert server.prompt == "two"


def test_when_what_was_told_ahead_is_refused_all_of_it_is_told_and_nobody_hears_of_the_refusal() -> None:
    server = Server("one")
    server.setup.configure(payload("two"), "key")
    server.opened_ahead("one")
    effects = server.refuses()
    assert [effect.event["session"] for effect in effects or [] if isinstance(effect, fx.Send)] == [payload("two")]
    assert len(effects or []) == 1
    assert server.accepts() == [fx.Settled("key")]  # the rest, which was on its way
    assert server.setup.phase is Phase.CONFIGURING
    assert server.accepts() == [fx.Ready(again=False)]
    assert server.prompt == "two"


def test_what_is_refused_ahead_and_again_is_told() -> None:
    server = Server("one")
    server.setup.configure(payload("one"), "key")
    server.opened_ahead("one")
    server.refuses()
    (effect,) = server.refuses() or []
    assert isinstance(effect, fx.Disconnect)
    assert effect.failure.kind is Kind.FATAL


@pytest.mark.parametrize(("kept", "over"), [("audio/pcm", True), ("audio/pcmu", False), (None, False)])
def test_a_server_that_uses_another_audio_format_than_asked_ends_the_session(kept: str | None, over: bool) -> None:
    wanted = transcription_payload({"format": {"type": "audio/pcmu"}}, {})
    setup = Setup(wanted, lambda kind: kind)
    setup.configure(wanted, "key")
    setup.opened()
    box = {} if kept is None else {"format": {"type": kept, "rate": 24000}}
    effects = setup.updated(SessionUpdated({"audio": {"input": box}}))
    ended = [effect for effect in effects if isinstance(effect, fx.Disconnect)]
    assert bool(ended) is over
    assert (setup.phase is Phase.READY) is not over
    if over:
        failure = ended[0].failure
        assert (failure.kind, failure.code) == (Kind.FATAL, "format_not_kept")
        assert setup.config.abandon() == ["key"]


def test_a_connection_begins_with_the_whole_configuration() -> None:
    server = Server()
    assert server.setup.phase is Phase.CLOSED
    (sent,) = server.opened()
    assert isinstance(sent, fx.Send)
    assert sent.event == {"type": "session.update", "event_id": "session_1", "session": payload("one")}
    assert not sent.in_turn
    assert server.setup.phase is Phase.CONFIGURING
    assert server.accepts() == [fx.Ready(again=False)]
    assert server.setup.phase is Phase.READY


def test_the_next_connection_is_ready_again_and_has_the_newest_configuration() -> None:
    server = ready()
    server.configure("two")
    server.setup.closed()
    assert server.setup.phase is Phase.CLOSED
    server.opened()
    assert server.accepts() == [fx.Ready(again=True)]
    assert server.prompt == "two"


def test_a_change_sends_what_is_different_and_is_settled_by_the_answer() -> None:
    server = ready()
    (sent,) = server.configure("two", "change")
    assert isinstance(sent, fx.Send)
    transcription = {"model": "gpt-transcribe", "prompt": "two"}
    assert sent.event["session"] == {"type": "transcription", "audio": {"input": {"transcription": transcription}}}
    assert server.accepts() == [fx.Settled("change")]
    assert server.prompt == "two"


def test_what_the_server_has_is_settled_at_once() -> None:
    assert ready().configure("one", "nothing new") == [fx.Settled("nothing new")]


def test_what_is_on_its_way_is_not_sent_twice() -> None:
    server = ready()
    server.configure("two", "first")
    assert server.configure("two", "second") == []
    assert server.accepts() == [fx.Settled("first"), fx.Settled("second")]


def test_a_change_back_and_forth_is_sent_each_time() -> None:
    server = ready()
    assert len(server.configure("two", "there") + server.configure("one", "back")) == 2
    server.accepts()
    assert server.accepts() == [fx.Settled("back")]
    assert server.prompt == "one"


def test_a_change_without_a_connection_waits_for_one() -> None:
    server = Server()
    assert server.configure("two", "early") == []
    (sent,) = server.opened()
    assert isinstance(sent, fx.Send)
    assert sent.event["session"] == payload("two")
    assert server.accepts() == [fx.Settled("early"), fx.Ready(again=False)]


def test_a_change_whose_answer_was_lost_is_settled_by_the_next_connection() -> None:
    server = ready()
    server.configure("two", "lost")
    server.setup.closed()
    server.opened()
    assert server.accepts() == [fx.Settled("lost"), fx.Ready(again=True)]


def test_a_change_before_the_configuration_is_confirmed_comes_behind_it() -> None:
    server = Server()
    server.opened()
    assert len(server.configure("two", "early")) == 1
    assert server.accepts() == [fx.Ready(again=False)]
    assert server.accepts() == [fx.Settled("early")]
    assert server.prompt == "two"


def test_a_value_the_server_keeps_otherwise_is_told() -> None:
    server = Server()
    server.opened()
    box = {"noise_reduction": None, "transcription": {"model": "gpt-transcribe", "prompt": "something else"}}
    differs, is_ready = server.accepts(audio={"input": box})
    assert isinstance(differs, fx.ConfigDiffers)
    assert dict(differs.differences) == {"audio.input.transcription.prompt": ("one", "something else")}
    assert is_ready == fx.Ready(again=False)


def test_a_confirmation_nobody_asked_for_is_nothing() -> None:
    server = ready()
    assert server.setup.updated(SessionUpdated(payload("who knows"))) == []
    assert server.wanted == "one"


@pytest.mark.parametrize("named", [True, False])
def test_a_configuration_that_is_refused_at_the_beginning_is_fatal(named: bool) -> None:
    """The session would run on the server's defaults: without a model nothing is transcribed, and nobody is told."""
    server = Server()
    server.opened()
    told = server.refuses(named=named)
    assert told is not None
    (gone,) = told
    assert isinstance(gone, fx.Disconnect)
    assert (gone.failure.kind, gone.failure.code) == (Kind.FATAL, "invalid_value")
    assert gone.failure.param == "session.audio.input.transcription.prompt"
    assert server.setup.phase is not Phase.READY


@pytest.mark.parametrize("named", [True, False])
def test_a_change_that_is_refused_later_leaves_the_old_configuration(named: bool) -> None:
    server = ready()
    server.configure("bad", "change")
    told = server.refuses(named=named)
    assert told is not None
    refused, settled = told
    assert isinstance(refused, fx.ConfigRefused)
    assert isinstance(settled, fx.Settled)
    assert (settled.key, settled.failure and settled.failure.code) == ("change", "invalid_value")
    assert server.wanted == "one"
    server.setup.closed()
    server.opened()
    server.accepts()
    assert server.prompt == "one"


def test_a_change_nobody_waits_for_is_reported_when_it_is_refused() -> None:
    server = ready()
    server.configure("bad")
    told = server.refuses()
    assert told is not None
    assert [type(effect) for effect in told] == [fx.ConfigRefused, fx.Report]


def test_a_refusal_does_not_take_a_later_change_back() -> None:
    server = ready()
    server.configure("bad", "first")
    server.configure("good", "second")
    told = server.refuses()
    assert told is not None
    assert [effect.key for effect in told if isinstance(effect, fx.Settled)] == ["first"]
    assert server.wanted == "good"
    assert server.accepts() == [fx.Settled("second")]
    assert server.prompt == "good"


@pytest.mark.parametrize(("event_id", "param"), [("commit_3", None), (None, None), (None, "item.id")])
def test_a_refusal_of_something_else_is_no_business_of_the_configuration(
    event_id: str | None, param: str | None
) -> None:
    server = ready()
    server.configure("two", "change")
    assert server.setup.refused(refusal(event_id, param)) is None
    assert server.accepts() == [fx.Settled("change")]


# -- parts that are refused --------------------------------------------------------------------------------------------

WEATHER, LOOK_UP = {"type": "function", "name": "weather"}, {"type": "function", "name": "look_up"}


def names(event: Any) -> list[str]:
    return [tool["name"] for tool in event["session"]["tools"]]


def test_a_tool_that_is_refused_is_left_out_and_the_rest_is_sent_again(talk: Any) -> None:
    talk.configures("k1", instructions="be brief", tools=[WEATHER, LOOK_UP])
    talk.refuses(talk.sent[0], "string_above_max_length", param="session.tools[0].description")
    assert talk.told == ["ConfigRefused", "Report"]
    assert "'weather' is left out" in talk.all(fx.Report)[0].failure.sentence()
    again = talk.sent[1]
    assert (names(again), again["session"]["instructions"]) == (["look_up"], "be brief")
    assert again["event_id"] != talk.sent[0]["event_id"]
    talk.says("session.updated", session=again["session"])
    assert talk.effects[-1] == fx.Settled("k1")
    assert talk.conversation.config.wanted["tools"] == [LOOK_UP]
    talk.loses_connection()
    talk.opens()
    assert names(talk.sent[-1]) == ["look_up"]


def test_bad_tools_are_left_out_one_by_one(talk: Any) -> None:
    talk.configures("k1", tools=[WEATHER, LOOK_UP])
    for _ in range(2):
        talk.refuses(talk.sent[-1], "invalid_value", param="session.tools[0]")
    assert names(talk.sent[-1]) == []
    talk.refuses(talk.sent[-1], "invalid_value", param="session.tools[0]")
    assert talk.told[-2:] == ["ConfigRefused", "Settled"]
    assert talk.effects[-1].failure is not None
    assert len(talk.sent) == 3


def test_a_bad_tool_in_the_first_configuration_does_not_end_the_session(new: Any) -> None:
    new.configures("k1", instructions="be brief", tools=[WEATHER, LOOK_UP])
    new.opens()
    new.asks("reply")
    new.configures("k2", instructions="be kind")
    new.refuses(new.sent[0], "invalid_value", param="session.tools[1].parameters")
    later, again, missing = new.sent[1:]
    assert later["session"] == missing["session"] == {"type": "realtime", "instructions": "be kind"}
    assert {**again["session"], "tools": None} == {**new.sent[0]["session"], "tools": None}
    assert names(again) == ["weather"]
    # What was asked for later is confirmed first, and is not yet all of the configuration.
    new.says("session.updated", session={})
    assert new.effects[-1] == fx.Settled("k2")
    assert new.conversation.phase is Phase.CONFIGURING
    new.says("session.updated", session={})
    assert new.all(fx.Settled)[-1] == fx.Settled("k1")
    assert [event["type"] for event in new.sent][-1] == "response.create"
    new.says("session.updated", session={})
    assert new.conversation.config.confirmed == new.conversation.config.wanted
    assert new.conversation.config.wanted["instructions"] == "be kind"


@pytest.mark.parametrize("first_is_bad", [True, False])
@pytest.mark.parametrize("second_is_bad", [True, False])
@pytest.mark.parametrize("why", ["session.instructions", "session.tools[0]"])
def test_of_two_changes_on_their_way_the_newest_that_was_taken_holds(
    talk: Any, first_is_bad: bool, second_is_bad: bool, why: str
) -> None:
    """A first one that is refused for a tool goes again, behind the second: it must not undo that."""
    taken = {"k1", "k2"}
    talk.configures("k1", instructions="one", tools=[WEATHER])
    talk.configures("k2", instructions="two")
    first, second = talk.sent
    server = dict(talk.conversation.config.confirmed)
    queue = [first, second]
    while queue:
        event = queue.pop(0)
        seen = len(talk.sent)
        if event is first and first_is_bad:
            talk.refuses(event, "invalid_value", param=why)
            taken -= {"k1"} if why == "session.instructions" else set()
        elif event["session"].get("instructions") == "two" and second_is_bad:
            talk.refuses(event, "invalid_value", param="session.instructions")
            taken -= {"k2"}
        else:
            server |= event["session"]
            talk.says("session.updated", session=server)
        queue += talk.sent[seen:]
    assert talk.conversation.config.wanted == talk.conversation.config.confirmed == server
    assert {effect.key for effect in talk.all(fx.Settled) if effect.failure is None} == taken
    asked = {"k1": "one", "k2": "two"}
    assert server["instructions"] == ([asked[key] for key in sorted(taken)] or ["be nice"])[-1]
    kept = [] if "k1" not in taken or (first_is_bad and why != "session.instructions") else [WEATHER]
    assert server["tools"] == kept


def test_what_was_changed_without_a_connection_and_is_refused_leaves_what_the_last_one_had(talk: Any) -> None:
    before = talk.conversation.config.wanted
    talk.loses_connection()
    talk.forget()
    talk.configures("k1", instructions="too long")
    talk.opens()
    talk.refuses(talk.sent[-1], "string_above_max_length", param="session.instructions")
    assert talk.told == ["ConfigRefused", "Settled"]
    assert talk.effects[-2].key == "k1"
    assert talk.sent[-1]["session"] == before
    talk.says("session.updated", session=before)
    assert talk.all(fx.Ready) == [fx.Ready(again=True)]
    # What a server took once and takes no longer leaves nothing to begin with.
    talk.loses_connection()
    talk.opens()
    talk.refuses(talk.sent[-1], "invalid_value", param="session.instructions")
    assert talk.told[-1] == "Disconnect"


# -- the voice -------------------------------------------------------------------------------------------------------

CEDAR = {**WANTED["audio"], "output": {**WANTED["audio"]["output"], "voice": "cedar"}}


def test_before_the_agent_spoke_its_voice_changes_at_once(talk: Any) -> None:
    talk.configures("k1", audio=CEDAR)
    assert talk.sent[0]["session"]["audio"] == {"output": {"voice": "cedar"}}


def test_once_the_agent_spoke_a_new_voice_waits_for_the_next_connection_and_the_rest_does_not(talk: Any) -> None:
    talk.reply("r1", "i1", "hello")
    talk.forget()
    assert [type(effect) for effect in talk.configures("k1", audio=CEDAR)] == [fx.Noticed, fx.Settled]
    talk.configures("k2", instructions="be brief")
    assert [event["session"] for event in talk.sent] == [{"type": "realtime", "instructions": "be brief"}]
    assert talk.told.count("Noticed") == 1
    talk.loses_connection()
    talk.opens()
    assert talk.sent_of("session.update")[-1]["session"]["audio"] == CEDAR


def test_a_voice_the_server_refuses_as_too_late_is_held_back_and_the_rest_is_sent_again(talk: Any) -> None:
    """The agent's first audio may be on its way when the voice is changed."""
    talk.configures("k1", instructions="be brief", audio=CEDAR)
    talk.refuses(talk.sent[0], "cannot_update_voice")
    assert talk.sent[1]["session"] == {"type": "realtime", "instructions": "be brief"}
    assert talk.told == ["ConfigRefused", "Noticed"]
    talk.says("session.updated", session={})
    assert talk.effects[-1] == fx.Settled("k1")
    assert talk.conversation.config.wanted["audio"] == CEDAR


def test_of_a_voice_alone_that_is_too_late_nothing_is_sent_again(talk: Any) -> None:
    talk.configures("k1", audio=CEDAR)
    talk.refuses(talk.sent[0], "cannot_update_voice")
    assert talk.told == ["ConfigRefused", "Noticed", "Settled"]
    assert talk.effects[-1] == fx.Settled("k1")
    assert len(talk.sent) == 1
