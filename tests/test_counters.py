"""What Prometheus and OpenTelemetry are told of sessions on an emulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import STT, Price, RealtimeModel, RealtimeSession, counters, models
from livekit_plugins_openai_ga.core.effects import ReplyEnded
from livekit_plugins_openai_ga.core.usage import ReplyUsage, TranscriptionUsage
from livekit_plugins_openai_ga.counters import PREFIX, TABLE, Counters, code_label
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import FailTranscription, InjectOn, RejectHandshake, RejectOn
from livekit_plugins_openai_ga.errors import from_server_error
from livekit_plugins_openai_ga.transport.outbox import MAX_EVENTS, AudioCount

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
Grown = Callable[..., float]


def shown(name: str, labels: dict[str, str]) -> float:
    return prometheus_client.REGISTRY.get_sample_value(PREFIX + name, labels) or 0.0


@pytest.fixture
def grown() -> Grown:
    """How much a series has grown since the test began; it is named without what all have in common."""
    before = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in prometheus_client.REGISTRY.collect()
        for sample in metric.samples
    }

    def since(name: str, kind: str = "realtime", model: str = "gpt-realtime-2.1", **labels: str) -> float:
        labels = {"kind": kind, "model": model, **labels}
        return shown(name, labels) - before.get((PREFIX + name, tuple(sorted(labels.items()))), 0.0)

    return since


@contextlib.asynccontextmanager
async def session(server: Emulator, **options: Any) -> AsyncIterator[RealtimeSession]:
    model = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK, **options)
    session = model.session()
    try:
        yield session
    finally:
        await session.aclose()


async def spoken(session: RealtimeSession) -> None:
    """A reply, to its end."""
    async for _ in (await session.generate_reply()).message_stream:
        pass


async def over(session: RealtimeSession) -> None:
    """Wait for the error that ends a session."""
    told: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
    session.on("error", told.put_nowait)
    while (await asyncio.wait_for(told.get(), 10)).recoverable:
        pass


async def test_a_conversation_counts_its_connection_its_replies_and_their_tokens(grown: Grown) -> None:
    async with Emulator(Script([Turn(say="Good morning.")])) as server, session(server) as call:
        assert grown("sessions") == 1
        await spoken(call)
        assert grown("connections_total") == 1
        assert grown("replies_total", status="completed") == 1
        assert grown("first_output_seconds_count") == 1
        [usage] = [event["response"]["usage"] for event in server.sent("response.done")]
        for kind in ("text", "audio"):
            told = usage["output_token_details"][f"{kind}_tokens"]
            assert told > 0
            assert grown("tokens_total", type=f"output_{kind}") == told
        await call.aclose()
        assert grown("sessions") == 0


async def test_a_lost_connection_and_an_odd_event_are_counted(grown: Grown) -> None:
    odd = InjectOn("response.created", {"type": "response.hologram"})
    turns = Script([Turn(say="Here."), Turn(say="Again.")])
    async with Emulator(turns, faults=[odd]) as server, session(server) as call:
        again = asyncio.Event()
        call.on("session_reconnected", lambda _: again.set())
        await spoken(call)
        await server.drop()
        await asyncio.wait_for(again.wait(), 10)
        assert grown("failures_total", outcome="reconnect", code="close_1006") == 1
        assert grown("odd_events_total", what="unknown_event") == 1
        assert grown("reconnect_seconds_count") == 1
        assert grown("connections_total") == 2
        assert grown("sessions") == 1


async def test_a_session_that_cannot_go_on_counts_why_and_is_open_no_more(grown: Grown) -> None:
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000)
    async with Emulator(faults=[fault]) as server, session(server) as call:
        await over(call)
        assert grown("failures_total", outcome="fatal", code="invalid_api_key") == 1
        assert grown("sessions") == 0


async def test_a_refused_change_is_counted(grown: Grown) -> None:
    fault = RejectOn("session.update", "invalid_value", "Invalid value.", "session.instructions", nth=2)
    async with Emulator(Script([Turn(say="Here.")]), faults=[fault]) as server, session(server) as call:
        await spoken(call)
        with pytest.raises(llm.RealtimeError):
            await call.update_instructions("Be brief.")
        assert grown("failures_total", outcome="request_failed", code="invalid_value") == 1


async def test_a_turn_without_its_text_ends_no_session_whatever_the_reason(grown: Grown) -> None:
    fault = FailTranscription("insufficient_quota", "You exceeded your current quota.")
    async with Emulator(Script([Turn(heard="Hello.", say="Yes?")]), faults=[fault]) as server, session(server) as call:
        call.push_audio(rtc.AudioFrame(pcm := speak("Hello.", "alloy", 1.0), 24000, 1, len(pcm) // 2))
        call.commit_audio()
        await server.wait_sent("conversation.item.input_audio_transcription.failed")
        await spoken(call)
        code = "insufficient_quota"
        assert grown("failures_total", outcome="transcription_failed", code=code) == 1
        assert grown("failures_total", outcome="fatal", code=code) == 0
        assert grown("sessions") == 1


async def test_closing_a_session_with_requests_on_their_way_is_no_failure(grown: Grown) -> None:
    async with Emulator() as server, session(server) as call:
        reply = call.generate_reply()
        await call.aclose()
        with pytest.raises(llm.RealtimeError):
            await reply
        assert grown("failures_total", outcome="fatal", code="other") == 0


async def test_a_stream_of_speech_to_text_counts_in_its_own_kind(grown: Grown) -> None:
    async with Emulator(Script([Turn(heard="Hello.")]), faults=[FailTranscription(nth=2)]) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, turn_detection=None, vad=None)
        labels = {"kind": "stt", "model": stt.model}
        async with stt.stream(conn_options=QUICK) as stream:
            assert grown("sessions", **labels) == 1
            for _ in range(2):
                pcm = speak("Hello.", "alloy", 1.0)
                stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
                stream.flush()
            stream.end_input()
            async for _ in stream:
                pass
        assert grown("connections_total", **labels) == 1
        assert grown("billed_audio_seconds_total", **labels) > 0
        assert grown("failures_total", outcome="transcription_failed", code="audio_unintelligible", **labels) == 1
        assert grown("sessions", **labels) == 0


# -- one by one ----------------------------------------------------------------------------------------------------


def test_lost_audio_is_counted_once_in_seconds(grown: Grown) -> None:
    audio = AudioCount()
    session = Counters("realtime", "lossy", audio)
    session.connected()
    audio.dropped = 1500.0
    session.connected()
    session.connected()
    audio.dropped = 2000.0
    session.closed()
    audio.dropped = 9000.0
    session.closed()
    assert grown("lost_audio_seconds_total", model="lossy") == 2.0
    assert grown("sessions", model="lossy") == 0


def test_what_was_let_go_is_counted_once_by_what_it_was(grown: Grown) -> None:
    dropped = {"event": 0, "turn": 0}
    session = Counters("realtime", "crowded", None, lambda: dropped)
    session.connected()
    dropped["event"] = 2
    session.connected()
    session.connected()
    dropped.update(event=3, turn=1)
    session.closed()
    assert grown("dropped_total", model="crowded", what="event") == 3
    assert grown("dropped_total", model="crowded", what="turn") == 1


async def test_events_that_were_let_go_are_counted_with_the_next_connection(grown: Grown) -> None:
    async with Emulator() as server, session(server) as call:
        for _ in range(MAX_EVENTS + 2):
            call.send_event({"type": "input_audio_buffer.clear"})
        await call.update_instructions("Be brief.")
        assert grown("dropped_total", what="event") == 2


def test_audio_that_was_sent_again_is_counted_with_the_next_reply(grown: Grown) -> None:
    audio = AudioCount(replayed=1250.0)
    session = Counters("realtime", "again", audio)
    for _ in range(2):
        session.replied(ReplyEnded("r", "completed", "", 5.0, None, 6.0, None, None))
    assert grown("replayed_audio_seconds_total", model="again") == 1.25
    assert session.count("replayed_audio") == 1.25


def test_a_session_knows_its_own_part(grown: Grown) -> None:
    for code in ("invalid_value", "unknown_parameter"):
        session = Counters("realtime", "shared")
        session.failed(from_server_error(code, "invalid_request_error", "No."), "request_failed")
        session.failed(from_server_error("server_error", "server_error", "No."), "reply_failed")
        session.asked_again()
    assert grown("failures_total", model="shared", outcome="request_failed", code="invalid_value") == 1
    assert grown("replies_again_total", model="shared") == 2
    assert session.count("failures") == 2
    assert session.count("failures", outcome="request_failed") == 1
    assert session.count("failures", outcome="request_failed", code="invalid_value") == 0
    assert session.count("replies_again") == 1


def test_a_reconnect_that_takes_several_attempts_is_as_long_as_all_of_them(grown: Grown) -> None:
    session = Counters("realtime", "unlucky")
    session.lost()
    time.sleep(0.02)  # what is measured, not a wait
    lost_again = time.monotonic()
    session.lost()
    session.ready()
    took = time.monotonic() - lost_again
    session.ready()
    assert grown("reconnect_seconds_count", model="unlucky") == 1
    assert grown("reconnect_seconds_sum", model="unlucky") > took


def test_tokens_without_details_are_counted_as_other(grown: Grown) -> None:
    usage = ReplyUsage(input=100, input_text=10, input_audio=60, cached=40, cached_text=8, output=30, output_text=5)
    session = Counters("realtime", "vague")
    session.billed(usage, models.cost(usage, "vague"))
    session.replied(ReplyEnded("r", "cancelled", "", 5.0, None, 6.0, usage, None))
    told = {"input_text": 10, "input_audio": 60, "input_other": 30, "output_text": 5, "output_other": 25}
    assert {name: grown("tokens_total", model="vague", type=name) for name in told} == told
    assert grown("cached_tokens_total", model="vague", type="input_text") == 8
    assert grown("cached_tokens_total", model="vague", type="input_other") == 32
    assert grown("replies_total", model="vague", status="cancelled") == 1
    assert grown("first_output_seconds_count", model="vague") == 0


def test_a_transcript_in_a_conversation_is_billed_to_the_model_that_made_it(grown: Grown) -> None:
    usage = TranscriptionUsage(seconds=2.5, input=20, input_audio=15, output=4).counts
    Counters("realtime", "talker").billed(usage, models.cost(usage, "writer"), "writer")
    told = {"input_audio": 15, "input_other": 5, "output_text": 4}
    assert {name: grown("tokens_total", model="writer", type=name) for name in told} == told
    assert grown("billed_audio_seconds_total", model="writer") == 2.5
    assert grown("tokens_total", model="talker", type="input_audio") == 0


def test_what_is_billed_is_counted_in_usd_by_its_parts_and_what_has_no_price_apart(grown: Grown) -> None:
    session = Counters("realtime", "priced")
    usage = ReplyUsage(input_text=1_000_000, cached_text=500_000, output_audio=1_000_000, input_image=10)
    session.billed(usage, models.cost(usage, Price(text_in=4.0, text_cached=0.5, audio_out=64.0)))
    told = {"text_in": 2.0, "text_cached": 0.25, "audio_out": 64.0, "image_in": 0.0, "text_out": 0.0}
    assert {name: grown("cost_usd_total", model="priced", type=name) for name in told} == told
    assert grown("unpriced_total", model="priced") == 1
    session.billed(ReplyUsage(), models.cost(ReplyUsage(), None))
    assert grown("unpriced_total", model="priced") == 1


def test_an_ending_that_nobody_knows_has_no_series_of_its_own(grown: Grown) -> None:
    Counters("realtime", "odd").replied(ReplyEnded("r", "melted", "", 5.0, None, 6.0, None, None))
    assert grown("replies_total", model="odd", status="other") == 1
    assert grown("replies_total", model="odd", status="melted") == 0


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("insufficient_quota", "insufficient_quota"),
        ("close_1011", "close_1011"),
        ("close_4711", "other"),
        ("http_503", "http_5xx"),
        ("http_429", "http_4xx"),
        ("http_error", "http_error"),
        ("http_anything", "other"),
        ("host_not_found", "host_not_found"),
        ("what_a_server_makes_up", "other"),
        ("", "other"),
    ],
)
def test_servers_cannot_make_up_series(code: str, label: str) -> None:
    assert code_label(code) == label


# -- OpenTelemetry -------------------------------------------------------------------------------------------------

_METER = """
import json
from types import SimpleNamespace
from livekit.agents import job
from livekit_plugins_openai_ga.counters import Counters  # before there is a provider, as in an agent
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from livekit_plugins_openai_ga.core.usage import ReplyUsage
from livekit_plugins_openai_ga.errors import from_close
from livekit_plugins_openai_ga.models import cost

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
job._JobContextVar.set(SimpleNamespace(job=SimpleNamespace(id="AJ_1", room=SimpleNamespace(sid="RM_1"))))
first, second = Counters("realtime", "m"), Counters("realtime", "m")
first.connected()
first.failed(from_close(1011, ""), "reconnect")
first.lost()
first.ready()
usage = ReplyUsage(seconds=30.0)
first.billed(usage, cost(usage, "gpt-live-transcribe"), "writer")
second.closed()
told = {}
for resource in reader.get_metrics_data().resource_metrics:
    for scope in resource.scope_metrics:
        assert scope.scope.name == "livekit-plugins-openai-ga"
        for metric in scope.metrics:
            for point in metric.data.data_points:
                value = point.count if hasattr(point, "count") else point.value
                told[metric.name] = [metric.unit, value, dict(point.attributes)]
print(json.dumps(told))
"""


def test_opentelemetry_is_told_the_same_under_livekits_prefix() -> None:
    done = subprocess.run([sys.executable, "-c", _METER], capture_output=True, text=True, check=True, timeout=60)
    of = {"kind": "realtime", "room_id": "RM_1", "job_id": "AJ_1"}
    session = {**of, "model_name": "m"}
    assert json.loads(done.stdout) == {
        "lk.openai_ga.sessions": ["", 1, session],
        "lk.openai_ga.connections": ["", 1, session],
        "lk.openai_ga.failures": ["", 1, {**session, "outcome": "reconnect", "code": "close_1011"}],
        "lk.openai_ga.reconnect": ["s", 1, session],
        "lk.openai_ga.billed_audio": ["s", 30.0, {**of, "model_name": "writer"}],
        "lk.openai_ga.cost": ["USD", 0.0085, {**of, "model_name": "writer", "type": "minutes"}],
    }


# -- in LiveKit's multiprocess mode --------------------------------------------------------------------------------

_PROCESS = """
import os, sys
import livekit_plugins_openai_ga
from livekit_plugins_openai_ga.counters import Counters
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
print(len(os.listdir(folder)))
Counters("realtime", "m").connected()
print(len(os.listdir(folder)))
"""


def test_a_process_writes_no_file_before_it_has_a_session(tmp_path: Path) -> None:
    # LiveKit's worker imports the plugin and then clears the folder: what had a file by then would count for nobody.
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROCESS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    before, after = map(int, done.stdout.split())
    assert before == 0
    assert after > 0


_FOLDER_GONE = """
import os, shutil
from livekit_plugins_openai_ga.counters import Counters
shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
session = Counters("realtime", "m")
session.connected()
session.lost()
session.ready()
session.closed()
print("went on")
"""


def test_a_call_goes_on_when_its_metrics_have_no_folder_any_more(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _FOLDER_GONE], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "went on\n"
    assert done.stderr.count("metrics cannot be written") == 1


def test_the_page_lists_every_metric_with_its_labels_and_meaning() -> None:
    page = (Path(counters.__file__).parent.parent / "docs" / "production.md").read_text()
    rows = [
        f"| `{row.series}` | `{row.instrument}` | {', '.join(f'`{label}`' for label in row.labels) or '-'} "
        f"| {row.meaning} |"
        for row in TABLE
    ]
    assert [line for line in page.splitlines() if line.startswith(f"| `{PREFIX}")] == rows
