"""Tools that the server runs: the order in which things may come, and that each call is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.errors import Failure, Kind

CALL = {"type": "mcp_call", "server_label": "shop", "name": "find", "arguments": "", "output": None, "error": None}
DONE = {**CALL, "arguments": '{"a": 1}', "output": "3 pairs"}
REQUEST = {"type": "mcp_approval_request", "server_label": "shop", "name": "buy", "arguments": "{}"}


def begins(talk: Any, item: Any, response_id: str | None = "r1") -> None:
    """The server opens an item, in a response or beside it."""
    if response_id is not None:
        talk.says("response.output_item.added", response_id=response_id, item=item)
    talk.added(item, talk.conversation.mirror.last_id)


def call(talk: Any, item_id: str = "c1", response_id: str | None = "r1") -> dict[str, Any]:
    begins(talk, {**CALL, "id": item_id}, response_id)
    return {**DONE, "id": item_id}


def ended(talk: Any) -> list[tuple[str, str]]:
    return [(effect.response_id, effect.status) for effect in talk.all(fx.ReplyEnded)]


def asked(talk: Any) -> list[dict[str, Any]]:
    return talk.sent_of("response.create")


# -- who asks for the answer, and when -----------------------------------------------------------------------------

ENDINGS = {
    "the call, with its result": ("item", "event", "done"),
    "the call, by its event": ("event", "item", "done"),
    "the call, before its result": ("event", "done", "item"),
    "the reply": ("done", "item", "event"),
    "the reply, and the event comes before the result": ("done", "event", "item"),
}


@pytest.mark.parametrize("order", ENDINGS.values(), ids=ENDINGS)
def test_a_reply_goes_on_once_when_both_have_ended(talk: Any, order: tuple[str, ...]) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    steps = {
        "item": lambda: talk.says("conversation.item.done", item=done),
        "event": lambda: talk.says("response.mcp_call.completed", item_id="c1"),
        "done": lambda: talk.ends("r1"),
    }
    for number, step in enumerate(order, 1):
        steps[step]()
        over = "done" in order[:number] and {"item", "event"} & set(order[:number])
        assert len(asked(talk)) == bool(over), order[:number]
    (request,) = asked(talk)
    assert ended(talk) == []
    talk.begins("r2", request["event_id"])
    talk.message("r2", "a1", "c1")
    talk.speaks("r2", "a1", "three")
    talk.ends("r2")
    assert [effect.response_id for effect in talk.all(fx.ReplyStarted)] == ["r1"]
    assert [effect.response_id for effect in talk.all(fx.MessageStarted)] == ["r1"]
    assert ended(talk) == [("r1", "completed")]


def test_what_both_parts_cost_is_told_together(talk: Any) -> None:
    talk.ready().begins("r1")
    talk.says("conversation.item.done", item=call(talk))
    talk.ends("r1", usage={"output_tokens": 3, "total_tokens": 10})
    talk.begins("r2", asked(talk)[0]["event_id"])
    talk.ends("r2", usage={"output_tokens": 4, "total_tokens": 20})
    (told,) = talk.all(fx.ReplyEnded)
    assert (told.usage.output, told.usage.total) == (7, 30)


def test_a_reply_that_spoke_after_its_call_is_complete(talk: Any) -> None:
    talk.ready().begins("r1")
    talk.says("conversation.item.done", item=call(talk))
    talk.message("r1", "a1", "c1")
    talk.speaks("r1", "a1", "three")
    talk.ends("r1")
    assert asked(talk) == []
    assert ended(talk) == [("r1", "completed")]


def test_livekit_answers_a_reply_that_called_a_function_as_well(talk: Any) -> None:
    talk.ready().begins("r1")
    item = {"id": "f1", "type": "function_call", "call_id": "f", "name": "look", "arguments": "{}"}
    begins(talk, item)
    talk.says("response.output_item.done", response_id="r1", item=item)
    talk.says("conversation.item.done", item=call(talk))
    talk.ends("r1")
    assert asked(talk) == []
    assert ended(talk) == [("r1", "completed")]


def test_the_second_part_keeps_how_the_reply_was_wanted_and_not_what_it_was_told(talk: Any) -> None:
    talk.ready()
    params = {"instructions": "Greet.", "output_modalities": ["text"], "tool_choice": "required", "tools": []}
    params["metadata"] = {"topic": "billing"}
    talk.note(talk.conversation.answers.ask("k1", params))
    talk.begins("r1", "k1")
    talk.says("conversation.item.done", item=call(talk))
    talk.ends("r1")
    second = asked(talk)[1]["response"]
    assert second.keys() == {"output_modalities", "tools", "metadata"}
    assert second["metadata"]["topic"] == "billing"
    assert second["metadata"]["client_event_id"] == asked(talk)[1]["event_id"]


def test_a_reply_out_of_band_is_nobodys_to_go_on_with(talk: Any) -> None:
    talk.ready().begins("r1", aside=True)
    item = {**CALL, "id": "c1"}
    talk.says("response.output_item.added", response_id="r1", item=item)
    talk.says("response.mcp_call.completed", item_id="c1")
    talk.says("response.output_item.done", response_id="r1", item={**DONE, "id": "c1"})
    talk.ends("r1")
    assert asked(talk) == []
    assert ended(talk) == [("r1", "completed")]


STOPS = {
    "interrupted": lambda talk: talk.conversation.interrupt(5.0),
    "cancelled": lambda talk: talk.conversation.answers.cancel("r1", 5.0),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_the_agent_does_not_speak_by_itself_of_a_call_whose_reply_was_stopped(talk: Any, stop: Any) -> None:
    talk.ready().begins("r1")
    first, second = call(talk, "c1"), call(talk, "c2")
    talk.ends("r1")
    talk.note(stop(talk))
    assert ended(talk) == [("r1", "cancelled")]
    talk.says("conversation.item.done", item=first)
    talk.says("response.mcp_call.completed", item_id="c2")
    talk.says("conversation.item.done", item=second)
    assert asked(talk) == []
    assert all(record.item.is_answered for record in talk.conversation.mirror)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_nor_when_the_reply_was_still_made(talk: Any, stop: Any) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    talk.note(stop(talk))
    talk.ends("r1", status="cancelled")
    talk.says("conversation.item.done", item=done)
    assert asked(talk) == []


def test_a_user_who_speaks_while_a_call_runs_is_answered_and_then_told_what_it_brought(talk: Any) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    talk.ends("r1")
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    assert ended(talk) == [("r1", "cancelled")]
    talk.says("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    talk.says("conversation.item.done", item=done)
    assert len(asked(talk)) == 1


def test_calls_that_end_together_are_answered_by_one_reply(talk: Any) -> None:
    talk.ready().begins("r1")
    first, second = call(talk, "c1"), call(talk, "c2")
    talk.ends("r1", status="incomplete")
    talk.begins("r2")  # while another reply is made
    talk.says("conversation.item.done", item=first)
    talk.says("conversation.item.done", item=second)
    talk.ends("r2")
    (request,) = asked(talk)
    talk.begins("r3", request["event_id"])
    talk.ends("r3")
    assert len(asked(talk)) == 1


def test_a_call_that_ends_while_the_user_speaks_is_answered_with_what_they_say(talk: Any) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    talk.ends("r1", status="cancelled")
    talk.says("conversation.item.done", item=done)
    assert asked(talk) == []


LOOK = {"type": "function", "name": "look"}
SHOP = {"type": "mcp", "server_label": "shop"}
OUT_OF_BAND = {
    "the session's functions": ([LOOK, SHOP], "auto", {}, {"tools": [LOOK]}),
    "none, as there are no others": ([SHOP], "auto", {}, {"tools": [], "tool_choice": "none"}),
    "none, as the session's choice is not here": ([LOOK, SHOP], SHOP, {}, {"tools": [LOOK], "tool_choice": "none"}),
    "its own": ([SHOP], "auto", {"tools": [LOOK]}, {"tools": [LOOK]}),
    "what it chose": ([LOOK, SHOP], "auto", {"tool_choice": "required"}, {"tools": [LOOK], "tool_choice": "required"}),
    "none, as it said": ([LOOK, SHOP], "auto", {"tool_choice": "none"}, {"tool_choice": "none"}),
    "the session's, none of which the server runs": ([LOOK], "auto", {}, {}),
}


def wants(talk: Any, **options: Any) -> None:
    talk.conversation.config.want({**talk.conversation.config.wanted, **options})


@pytest.mark.parametrize(("tools", "choice", "given", "told"), OUT_OF_BAND.values(), ids=OUT_OF_BAND)
def test_what_a_reply_out_of_band_may_call(talk: Any, tools: Any, choice: Any, given: Any, told: Any) -> None:
    talk.ready()
    wants(talk, tools=tools, tool_choice=choice)
    talk.note(talk.conversation.answers.ask("k1", given, aside=True))
    (request,) = asked(talk)
    assert {key: request["response"][key] for key in ("tools", "tool_choice") if key in request["response"]} == told


def test_a_reply_in_the_conversation_may_call_what_the_session_may(talk: Any) -> None:
    talk.ready()
    wants(talk, tools=[SHOP])
    talk.note(talk.conversation.answers.ask("k1", {}))
    assert "tools" not in asked(talk)[0]["response"]


def test_a_call_that_brought_an_empty_text_is_answered_like_any_other(talk: Any) -> None:
    talk.ready().begins("r1")
    item = {**call(talk), "output": ""}
    talk.ends("r1")
    talk.says("conversation.item.done", item=item)
    assert len(asked(talk)) == 1
    assert [effect.record.item.output for effect in talk.all(fx.ItemPlaced)][-1] == ""
    talk.note(talk.conversation.closed(3.0))
    talk.forget()
    talk.ready()
    made = [event["item"] for event in talk.sent_of("conversation.item.create")]
    assert made[1] == {"id": "c1_out", "type": "function_call_output", "call_id": "c1", "output": ""}


# -- its place in the history --------------------------------------------------------------------------------------


def records(talk: Any, *item_ids: str) -> list[Any]:
    return [talk.conversation.mirror.get(item_id) for item_id in item_ids]


def called_between(talk: Any) -> None:
    """The user speaks, a call begins, the user speaks again, the call ends: u1, c1, u2."""
    talk.ready().user_turn("u1")
    talk.transcript("u1", "one")
    talk.begins("r1")
    done = call(talk)
    talk.user_turn("u2", "c1")
    talk.transcript("u2", "two")
    talk.says("conversation.item.done", item=done)
    talk.forget()


@pytest.mark.parametrize("order", ["u1 u2 c1", "c1 u1 u2", "u1 c1 u2", "u1 u2"])
def test_a_call_stays_where_the_server_has_it_wherever_livekit_has_it(talk: Any, order: str) -> None:
    called_between(talk)
    talk.syncs("k1", records(talk, *order.split()))
    assert talk.sent == []
    assert [record.id for record in talk.conversation.mirror] == ["u1", "c1", "u2"]


def test_what_is_new_goes_behind_a_call_that_stands_last(talk: Any, message: Any) -> None:
    called_between(talk)
    talk.syncs("k1", [*records(talk, "u1", "c1"), message("n")])
    assert [event["item_id"] for event in talk.sent_of("conversation.item.delete")] == ["u2"]
    assert [event["previous_item_id"] for event in talk.sent_of("conversation.item.create")] == ["c1"]


def test_a_call_that_livekit_has_stays_when_the_item_in_front_of_it_goes(talk: Any) -> None:
    called_between(talk)
    talk.syncs("k1", records(talk, "u2", "c1"))
    assert [event["item_id"] for event in talk.sent] == ["u1"]
    assert [record.id for record in talk.conversation.mirror] == ["c1", "u2"]


def test_what_stands_for_a_call_on_a_new_connection_stays_as_the_call_would(talk: Any) -> None:
    called_between(talk)
    for number in range(2):
        talk.note(talk.conversation.closed(3.0))
        talk.ready()
        talk.acknowledges()
        talk.forget()
        talk.syncs(f"k{number}", records(talk, "u1", "u2"))  # LiveKit knows no function of that name
        assert talk.sent == []
        assert [record.id for record in talk.conversation.mirror] == ["u1", "c1", "c1_out", "u2"]
    talk.syncs("k3", records(talk, "u2"))  # with the item in front of it, it goes
    assert [event["item_id"] for event in talk.sent_of("conversation.item.delete")] == ["u1", "c1", "c1_out"]


# -- what is called ------------------------------------------------------------------------------------------------


def test_a_forced_choice_is_let_go(talk: Any) -> None:
    talk.ready()
    wants(talk, tool_choice="required")
    talk.begins("r1")
    talk.says("conversation.item.done", item=call(talk))
    talk.ends("r1")
    assert asked(talk)[0]["response"]["tool_choice"] == "auto"


# -- approvals -----------------------------------------------------------------------------------------------------


def approval(talk: Any) -> None:
    item = {**REQUEST, "id": "q1"}
    begins(talk, item)
    talk.says("conversation.item.done", item=item)
    talk.says("response.output_item.done", response_id="r1", item=item)


def test_a_request_is_raised_once_and_no_reply_waits_for_it(talk: Any) -> None:
    talk.ready().begins("r1")
    approval(talk)
    talk.ends("r1")
    assert [effect.item.id for effect in talk.all(fx.ApprovalRequested)] == ["q1"]
    assert ended(talk) == [("r1", "completed")]
    assert talk.conversation.server_tools.busy
    assert not talk.conversation.server_tools.running


@pytest.mark.parametrize("item_first", [True, False], ids=["the call is there before", "the call comes when approved"])
def test_an_approved_call_is_answered_by_a_reply_of_its_own(talk: Any, item_first: bool) -> None:
    talk.ready().begins("r1")
    if item_first:
        call(talk)
    approval(talk)
    talk.ends("r1")
    assert ended(talk) == [("r1", "completed")]
    talk.note(talk.conversation.server_tools.answer("q1", approve=True, reason=None))
    assert asked(talk) == []
    if not item_first:
        call(talk, response_id=None)
    talk.says("response.mcp_call.completed", item_id="c1")
    talk.says("conversation.item.done", item={**DONE, "id": "c1"})
    assert len(asked(talk)) == 1


def test_a_request_that_comes_late_lets_the_reply_end(talk: Any) -> None:
    talk.ready().begins("r1")
    call(talk)
    talk.ends("r1")
    assert ended(talk) == []
    talk.added({**REQUEST, "id": "q1"}, "c1")
    talk.says("conversation.item.done", item={**REQUEST, "id": "q1"})
    assert ended(talk) == [("r1", "completed")]


def test_an_answer_is_sent_once_in_the_shape_of_ga(talk: Any) -> None:
    talk.ready().begins("r1")
    approval(talk)
    talk.ends("r1")
    tools = talk.conversation.server_tools
    talk.note(tools.answer("q1", approve=False, reason="No."))
    assert tools.answer("q1", approve=True, reason=None) is None
    (sent,) = talk.sent_of("conversation.item.create")
    assert sent["item"] == {
        "id": sent["event_id"],
        "type": "mcp_approval_response",
        "approval_request_id": "q1",
        "approve": False,
        "reason": "No.",
    }
    assert len(asked(talk)) == 1  # so that the model goes on without it


# -- lists ---------------------------------------------------------------------------------------------------------


def test_a_list_is_told_with_its_label(talk: Any) -> None:
    item = {"id": "l1", "type": "mcp_list_tools", "server_label": "shop", "tools": []}
    talk.ready().added(item)
    for _ in range(2):
        talk.says("conversation.item.done", item={**item, "tools": [{"name": "find"}, {"name": 7}]})
    assert talk.all(fx.ToolsListed) == [fx.ToolsListed("shop", ("find",))]
    assert [record.id for record in talk.conversation.mirror] == []


@pytest.mark.parametrize(("known", "named"), [(True, "The MCP server 'shop'"), (False, "An MCP server")])
def test_a_list_that_failed_is_an_error_with_its_label(talk: Any, known: bool, named: str) -> None:
    talk.ready()
    if known:
        talk.added({"id": "l1", "type": "mcp_list_tools", "server_label": "shop", "tools": []})
    talk.says("mcp_list_tools.failed", item_id="l1")
    (report,) = talk.all(fx.Report)
    assert report.failure.code == "mcp_list_tools_failed"
    assert report.failure.message.startswith(named)


# -- a lost connection ---------------------------------------------------------------------------------------------


def test_a_reply_whose_call_runs_is_over_with_its_connection(talk: Any) -> None:
    talk.ready().begins("r1")
    call(talk)
    talk.note(talk.conversation.closed(3.0))
    assert ended(talk) == [("r1", "lost")]
    talk.forget()
    talk.ready()
    assert asked(talk) == []
    assert not talk.conversation.server_tools.busy


def test_a_reply_that_is_held_for_its_call_is_over_too(talk: Any) -> None:
    talk.ready().begins("r1")
    call(talk)
    talk.ends("r1", usage={"output_tokens": 3})
    talk.note(talk.conversation.closed(3.0))
    (told,) = talk.all(fx.ReplyEnded)
    assert (told.status, told.usage.output) == ("lost", 3)


def test_the_rest_of_a_reply_is_asked_for_on_the_next_connection_behind_what_the_call_brought(talk: Any) -> None:
    talk.ready().begins("r1")
    talk.says("conversation.item.done", item=call(talk))
    talk.ends("r1")
    talk.begins("r2", asked(talk)[0]["event_id"])
    talk.note(talk.conversation.closed(3.0))
    talk.forget()
    talk.ready()
    made = [event["item"] for event in talk.sent_of("conversation.item.create")]
    assert made == [
        {"id": "c1", "type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"a": 1}'},
        {"id": "c1_out", "type": "function_call_output", "call_id": "c1", "output": "3 pairs"},
    ]
    assert len(asked(talk)) == 1
    assert ended(talk) == []


def test_an_approval_is_forgotten_with_its_connection(talk: Any) -> None:
    talk.ready().begins("r1")
    approval(talk)
    talk.ends("r1")
    talk.note(talk.conversation.closed(3.0))
    assert talk.conversation.server_tools.answer("q1", approve=True, reason=None) is None


# -- nothing is asked for any more -------------------------------------------------------------------------------------

ENOUGH = Failure(Kind.FATAL, "max_cost_reached", "", "It is enough.", "Say goodbye.")


def test_a_reply_is_not_gone_on_with(talk: Any) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    talk.note(talk.conversation.answers.refuse(ENOUGH, 1.0))
    talk.ends("r1")
    talk.says("conversation.item.done", item=done)
    assert ended(talk) == [("r1", "completed")]
    assert asked(talk) == []


def test_a_reply_that_is_held_for_its_call_ends(talk: Any) -> None:
    talk.ready().begins("r1")
    done = call(talk)
    talk.ends("r1", usage={"output_tokens": 3})
    talk.note(talk.conversation.answers.refuse(ENOUGH, 1.0))
    (told,) = talk.all(fx.ReplyEnded)
    assert (told.status, told.usage.output, told.failure) == ("failed", 3, ENOUGH)
    talk.says("conversation.item.done", item=done)
    assert asked(talk) == []


def test_a_denied_call_is_not_spoken_of(talk: Any) -> None:
    approval(talk)
    talk.note(talk.conversation.answers.refuse(ENOUGH, 1.0))
    talk.note(talk.conversation.server_tools.answer("q1", approve=False, reason=None))
    assert asked(talk) == []
