"""What LiveKit reads of a reply, and the futures it waits on: each ends once, whatever comes in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents import io, llm

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.realtime.reply import Reply
from livekit_plugins_openai_ga.realtime.streams import MAX_ROWS, ReplyStreams, Requests, refusal
from livekit_plugins_openai_ga.wire.items import Item

SOME_PCM = bytes(960)


class Watched(ReplyStreams):
    """Streams that note what they announce."""

    def __init__(self, *, spoken: bool = True, joined: bool = False) -> None:
        self.announced: list[llm.GenerationCreatedEvent] = []
        self.cancelled_ids: list[str] = []
        super().__init__(spoken=spoken, announce=self.announced.append, joined=joined)

    def begin(self, response_id: str = "r1", key: str | None = None, *, aside: bool = False) -> None:
        self.started(fx.ReplyStarted(response_id, key, aside))

    def wanted(self, key: str = "k", *, play: bool | None = None) -> asyncio.Future[Reply]:
        return self.ask(key, self.cancelled_ids.append, play=play)

    def finish(
        self,
        response_id: str = "r1",
        status: str = "completed",
        reason: str = "",
        failure: errors.Failure | None = None,
    ) -> None:
        self.ended(fx.ReplyEnded(response_id, status, reason, 0.0, None, 1.0, None, failure))


async def rest(stream: Any) -> list[Any]:
    """Everything a stream still gives; it must have an end."""

    async def read() -> list[Any]:
        return [item async for item in stream]

    return await asyncio.wait_for(read(), 2)


# -- requests ------------------------------------------------------------------------------------------------------


async def test_a_request_ends_with_none_or_with_what_went_wrong() -> None:
    requests = Requests()
    good, bad = requests.open("a"), requests.open("b")
    failure = errors.from_server_error("invalid_value", None, "No.")
    requests.settle("b", failure)
    requests.settle("a", None)
    assert await good is None
    assert await bad is failure


async def test_settling_twice_an_unknown_or_a_cancelled_request_does_nothing() -> None:
    requests = Requests()
    future = requests.open("a")
    future.cancel()
    requests.settle("a", None)
    requests.settle("a", None)
    requests.settle("never", None)
    assert future.cancelled()


def test_a_refusal_carries_sentence_and_code() -> None:
    error = refusal(errors.from_server_error("invalid_value", None, "No.", param="session.voice"))
    assert isinstance(error, llm.RealtimeError)
    assert error.code == "invalid_value"
    assert "session.voice" in str(error)


# -- futures of replies --------------------------------------------------------------------------------------------


async def test_a_requested_reply_resolves_its_future_and_is_announced_as_the_same_object() -> None:
    streams = Watched()
    future = streams.wanted()
    assert streams.active
    streams.begin("r1", "k")
    reply = await future
    assert streams.announced == [reply]
    assert (reply.user_initiated, reply.response_id) == (True, "r1")


async def test_the_servers_own_reply_is_announced_as_such() -> None:
    streams = Watched()
    streams.begin("r1")
    (reply,) = streams.announced
    assert (reply.user_initiated, reply.response_id) == (False, "r1")


async def test_a_failed_request_raises_and_says_whether_anybody_waited() -> None:
    streams = Watched()
    future = streams.wanted()
    assert streams.fail("k", llm.RealtimeError("no"))
    assert not streams.fail("k", llm.RealtimeError("no"))
    assert not streams.active
    with pytest.raises(llm.RealtimeError, match="no"):
        await future


async def test_a_failure_nobody_looks_at_is_not_printed_at_exit() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    streams = Watched()
    streams.wanted()
    streams.fail("k", llm.RealtimeError("no"))
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_forgotten_or_cancelled_request_is_left_alone() -> None:
    streams = Watched()
    future = streams.wanted()
    future.cancel()
    assert not streams.fail("k", llm.RealtimeError("no"))
    streams.wanted("l")
    streams.forget("l")
    assert not streams.active
    assert not streams.fail("l", llm.RealtimeError("no"))


# -- what a reply is made of ---------------------------------------------------------------------------------------


async def test_a_spoken_message_has_text_audio_and_both_modalities() -> None:
    streams = Watched()
    streams.begin()
    streams.message_started(fx.MessageStarted("r1", "m1", True))
    streams.text(fx.MessageText("r1", "m1", "Hel", 0.5))
    streams.text(fx.MessageText("r1", "m1", "lo"))
    streams.audio(fx.MessageAudio("r1", "m1", SOME_PCM))
    streams.message_ended(fx.MessageEnded("r1", "m1"))
    streams.finish()
    (reply,) = streams.announced
    (message,) = await rest(reply.message_stream)
    assert message.message_id == "m1"
    assert await message.modalities == ["audio", "text"]
    text = await rest(message.text_stream)
    assert text == ["Hel", "lo"]
    assert isinstance(text[0], io.TimedString)
    assert text[0].start_time == 0.5
    assert not isinstance(text[1], io.TimedString)
    (frame,) = await rest(message.audio_stream)
    assert (frame.sample_rate, frame.num_channels, frame.samples_per_channel) == (24000, 1, 480)
    assert await rest(reply.function_stream) == []


async def test_a_written_message_of_a_speaking_session_has_no_audio() -> None:
    streams = Watched()
    streams.begin()
    streams.message_started(fx.MessageStarted("r1", "m1", False))
    streams.finish()
    (message,) = await rest(streams.announced[0].message_stream)
    assert await message.modalities == ["text"]
    assert await rest(message.audio_stream) == []


async def test_a_text_session_knows_the_modality_before_the_first_word() -> None:
    streams = Watched(spoken=False)
    streams.begin()
    streams.message_started(fx.MessageStarted("r1", "m1", True))
    message = await streams.announced[0].message_stream.__aiter__().__anext__()
    assert await asyncio.wait_for(message.modalities, 1) == ["text"]
    assert await rest(message.audio_stream) == []
    streams.audio(fx.MessageAudio("r1", "m1", SOME_PCM))  # a server that speaks all the same
    streams.text(fx.MessageText("r1", "m1", "Hello"))
    streams.finish()
    assert await rest(message.text_stream) == ["Hello"]


async def test_function_calls_come_with_call_id_and_arguments() -> None:
    streams = Watched()
    streams.begin()
    item = Item("item_1", "function_call", call_id="call_1", name="look_up", arguments='{"a":1}')
    streams.called(fx.FunctionCalled("r1", item))
    streams.finish()
    (call,) = await rest(streams.announced[0].function_stream)
    assert (call.call_id, call.name, call.arguments) == ("call_1", "look_up", '{"a":1}')


async def test_two_replies_at_once_do_not_mix() -> None:
    streams = Watched()
    for response in ("r1", "r2"):
        streams.begin(response)
        streams.message_started(fx.MessageStarted(response, f"m-{response}", True))
    streams.text(fx.MessageText("r2", "m-r2", "two"))
    streams.text(fx.MessageText("r1", "m-r1", "one"))
    streams.finish("r1")
    assert streams.active
    streams.finish("r2")
    assert not streams.active
    for reply, text in zip(streams.announced, ("one", "two"), strict=True):
        (message,) = await rest(reply.message_stream)
        assert await rest(message.text_stream) == [text]


async def test_an_applications_own_aside_is_not_spoken_into_the_room() -> None:
    streams = Watched()
    streams.begin("r1", None, aside=True)
    streams.message_started(fx.MessageStarted("r1", "m1", True))
    streams.audio(fx.MessageAudio("r1", "m1", SOME_PCM))
    streams.finish()
    assert streams.announced == []
    assert not streams.active


# -- replies an application asked for --------------------------------------------------------------------------------


async def test_a_reply_that_is_not_played_is_for_who_asked_alone_and_keeps_its_speech() -> None:
    streams = Watched(spoken=False)  # a session of texts: LiveKit would speak them
    future = streams.wanted(play=False)
    streams.begin("r1", "k", aside=True)
    reply = await future
    streams.message_started(fx.MessageStarted("r1", "m1", True))
    streams.audio(fx.MessageAudio("r1", "m1", SOME_PCM))
    streams.finish()
    (message,) = await rest(reply.message_stream)
    assert await message.modalities == ["audio", "text"]
    assert len(await rest(message.audio_stream)) == 1
    assert streams.announced == []


async def test_a_reply_that_is_played_is_livekits_to_read_and_tells_its_end_to_who_asked() -> None:
    streams = Watched()
    future = streams.wanted(play=True)
    streams.begin("r1", "k", aside=True)
    mine, (played,) = await future, streams.announced
    streams.message_started(fx.MessageStarted("r1", "m1", True))
    streams.text(fx.MessageText("r1", "m1", "Good day."))
    streams.finish()
    assert (mine.user_initiated, played.user_initiated) == (True, False)  # LiveKit plays what nobody else does
    assert mine.response_id == played.response_id == "r1"
    assert [await rest(mine.message_stream), await rest(mine.function_stream)] == [[], []]
    assert len(await rest(played.message_stream)) == 1
    assert await mine.text() == "Good day."


async def test_a_reply_whose_future_was_cancelled_in_the_same_step_is_not_played() -> None:
    streams = Watched()
    streams.wanted(play=True).cancel()
    streams.begin("r1", "k")
    assert streams.announced == []


async def test_the_end_of_a_reply_has_its_messages_and_its_calls() -> None:
    streams = Watched()
    future = streams.wanted(play=False)
    streams.begin("r1", "k")
    reply = await future
    for item_id, pieces in (("m1", ["Let ", "me see."]), ("m2", ["It is noon."])):
        streams.message_started(fx.MessageStarted("r1", item_id, False))
        for piece in pieces:
            streams.text(fx.MessageText("r1", item_id, piece))
        streams.message_ended(fx.MessageEnded("r1", item_id))
    streams.called(fx.FunctionCalled("r1", Item("c1", "function_call", name="add", arguments="{}")))
    streams.finish()
    end = await reply.end()
    assert (end.status, end.reason, end.error) == ("completed", "", None)
    assert end.text == await reply.text() == "Let me see.\nIt is noon."
    assert list(end.calls) == await rest(reply.function_stream)


@pytest.mark.parametrize(
    ("status", "reason", "told", "code"),
    [
        ("incomplete", "max_output_tokens", r"ended as incomplete \(max_output_tokens\)", "max_output_tokens"),
        ("cancelled", "", "ended as cancelled;", "cancelled"),
    ],
)
async def test_the_text_of_a_reply_that_broke_off_raises_and_its_end_has_the_part_that_came(
    status: str, reason: str, told: str, code: str
) -> None:
    streams = Watched()
    future = streams.wanted(play=False)
    streams.begin("r1", "k")
    reply = await future
    streams.message_started(fx.MessageStarted("r1", "m1", False))
    streams.text(fx.MessageText("r1", "m1", '{"mood": '))
    streams.finish("r1", status, reason)
    with pytest.raises(llm.RealtimeError, match=told) as raised:
        await reply.text()
    assert raised.value.code == code
    assert (await reply.end()).text == '{"mood": '


async def test_the_text_of_a_reply_that_failed_raises_what_the_server_said() -> None:
    streams = Watched()
    future = streams.wanted(play=False)
    streams.begin("r1", "k")
    failure = errors.from_server_error("server_error", None, "Try later.")
    streams.finish("r1", "failed", failure=failure)
    with pytest.raises(llm.RealtimeError, match=r"Try later\."):
        await (await future).text()


async def test_who_no_longer_waits_for_a_text_takes_it_from_nobody_else() -> None:
    streams = Watched()
    future = streams.wanted(play=False)
    streams.begin("r1", "k")
    reply = await future
    waiting = asyncio.ensure_future(reply.text())
    await asyncio.sleep(0)
    waiting.cancel()
    streams.finish()
    assert await reply.text() == ""


async def test_a_reply_is_cancelled_by_its_id_until_it_has_ended() -> None:
    streams = Watched()
    future = streams.wanted(play=False)
    streams.begin("r1", "k")
    reply = await future
    reply.cancel()
    streams.finish("r1", "cancelled")
    reply.cancel()
    assert streams.cancelled_ids == ["r1"]


# -- any order -----------------------------------------------------------------------------------------------------

_IDS = st.sampled_from(["r1", "r2"])
_ITEMS = st.sampled_from(["m1", "m2"])
_STEPS: list[st.SearchStrategy[Callable[[Watched], object]]] = [
    st.builds(lambda r, i, k: lambda s: s.message_started(fx.MessageStarted(r, i, k)), _IDS, _ITEMS, st.booleans()),
    st.builds(lambda r, i: lambda s: s.text(fx.MessageText(r, i, "x")), _IDS, _ITEMS),
    st.builds(lambda r, i: lambda s: s.audio(fx.MessageAudio(r, i, b"\0\0\0")), _IDS, _ITEMS),
    st.builds(lambda r, i: lambda s: s.message_ended(fx.MessageEnded(r, i)), _IDS, _ITEMS),
    st.builds(lambda r: lambda s: s.called(fx.FunctionCalled(r, Item("i", "function_call"))), _IDS),
    st.builds(lambda r: lambda s: s.finish(r), _IDS),
]


@given(steps=st.lists(st.one_of(_STEPS), max_size=40), spoken=st.booleans())
def test_no_order_of_effects_raises_and_every_stream_ends_with_its_reply(
    steps: list[Callable[[Watched], object]], spoken: bool
) -> None:
    async def run() -> None:
        streams = Watched(spoken=spoken)
        streams.begin("r1")
        streams.begin("r2")
        for step in steps:
            step(streams)
        streams.finish("r1")
        streams.finish("r2")
        assert not streams.active
        for reply in streams.announced:
            await rest(reply.function_stream)
            for message in await rest(reply.message_stream):
                await rest(message.text_stream)
                await rest(message.audio_stream)
                assert message.modalities.done()

    asyncio.run(run())


# -- for a LiveKit that plays one message of a reply ----------------------------------------------------------------


async def test_joined_messages_are_read_as_one_to_the_end_of_the_reply() -> None:
    streams = Watched(joined=True)
    streams.begin()
    for item_id, text in (("m1", "One moment."), ("m2", "It is sunny.")):
        streams.message_started(fx.MessageStarted("r1", item_id, True))
        streams.text(fx.MessageText("r1", item_id, text, None))
        streams.audio(fx.MessageAudio("r1", item_id, SOME_PCM))
        streams.message_ended(fx.MessageEnded("r1", item_id))
    streams.finish()
    (message,) = await rest(streams.announced[0].message_stream)
    assert message.message_id == "m1"
    assert "".join(await rest(message.text_stream)) == "One moment. It is sunny."
    assert len(await rest(message.audio_stream)) == 2
    assert streams.row("m1") == ["m1", "m2"]


async def test_a_message_that_is_not_joined_stands_alone() -> None:
    for joined in (False, True):
        streams = Watched(joined=joined)
        streams.begin()
        streams.message_started(fx.MessageStarted("r1", "m1", True))
        streams.finish()
        assert streams.row("m1") == ["m1"]


async def test_joined_messages_of_replies_long_gone_are_forgotten() -> None:
    streams = Watched(joined=True)
    for number in range(MAX_ROWS + 1):
        streams.begin(f"r{number}")
        for part in "ab":
            streams.message_started(fx.MessageStarted(f"r{number}", f"{number}{part}", True))
        streams.finish(f"r{number}")
    assert streams.row("0a") == ["0a"]
    assert streams.row("1a") == ["1a", "1b"]
