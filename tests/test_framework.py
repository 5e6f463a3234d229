"""What LiveKit's older releases lack is made up for in one module. `tests/matrix` runs it on those releases."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import contextvars
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import livekit.agents
import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, function_tool, llm
from livekit.agents import stt as lk
from livekit.agents.llm.chat_context import Instructions

import livekit_plugins_openai_ga
from livekit_plugins_openai_ga import STT, framework
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake
from livekit_plugins_openai_ga.framework import job_attributes

ROOT = Path(livekit_plugins_openai_ga.__file__).parent


@dataclass
class OldEvent:
    """As a release has it that knows no confidence."""

    item_id: str


class OldError(Exception):
    """As a release has it that knows no codes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


# -- objects of LiveKit's ------------------------------------------------------------------------------------------


def test_what_a_release_has_no_field_for_can_be_read_all_the_same() -> None:
    made: Any = framework.make(OldEvent, item_id="a", confidence=0.5)  # type: ignore[call-arg]
    assert made == OldEvent("a")
    assert made.confidence == 0.5


def test_an_error_keeps_its_message_and_its_code() -> None:
    made: Any = framework.make(OldError, "no", code="invalid_value")  # type: ignore[call-arg]
    assert (str(made), made.code) == ("no", "invalid_value")


def test_what_a_release_knows_is_given_to_it() -> None:
    made = framework.make(lk.SpeechData, language="en", text="hi", source_languages=["de"])
    assert made == lk.SpeechData("en", "hi", source_languages=["de"])


# -- tools ---------------------------------------------------------------------------------------------------------


def test_only_a_tool_declared_with_a_schema_has_a_raw_one() -> None:
    schema = {"name": "look", "parameters": {"type": "object", "properties": {}}}

    @function_tool(raw_schema=schema)
    async def look(raw_arguments: dict[str, object]) -> None: ...

    @function_tool
    async def plain() -> None: ...

    assert framework.raw_schema(look) == schema
    assert [framework.raw_schema(tool) for tool in (plain, print, "look", llm.ChatContext())] == [None] * 4


# -- streams -------------------------------------------------------------------------------------------------------

PATIENT = APIConnectOptions(max_retry=3, retry_interval=0.0, timeout=0.1)


class OldStream(lk.RecognizeStream):
    """A stream that is driven by hand."""

    async def _run(self) -> None:
        await asyncio.Event().wait()

    async def fails(self, error: APIError, *, after: float = 0.0) -> int:
        """One attempt that fails; returns how many LiveKit counts."""
        with contextlib.suppress(APIError), framework.fair_retries(self):
            await asyncio.sleep(after)
            raise error
        return self._num_retries


@pytest.fixture
async def stream(request: pytest.FixtureRequest) -> Any:
    """Its parameter is LiveKit's timeout in seconds, which parts one row of failures from the next."""
    stt = STT(api_key="sk-test")
    made = OldStream(stt=stt, conn_options=replace(PATIENT, timeout=getattr(request, "param", PATIENT.timeout)))
    made._num_retries = 2
    yield made
    await made.aclose()


@pytest.mark.parametrize("stream", [30.0], indirect=True)
async def test_a_failure_at_once_is_left_to_livekit_to_count(stream: Any) -> None:
    assert await stream.fails(APIConnectionError("lost")) == 2  # as many as before; LiveKit adds one


async def test_a_failure_after_a_time_begins_a_new_row(stream: Any) -> None:
    assert await stream.fails(APIConnectionError("lost"), after=0.3) == 0


@pytest.mark.parametrize("after", [0.0, 0.3])
async def test_a_failure_that_cannot_get_better_is_the_last(stream: Any, after: float) -> None:
    assert await stream.fails(APIError("wrong key", retryable=False), after=after) == PATIENT.max_retry


def test_the_reason_is_told_instead_of_the_number_of_attempts() -> None:
    reason, passing = APIError("wrong key", retryable=False), APIError("lost")
    for cause, told in ((reason, "wrong key"), (passing, "after 3 attempts"), (None, "after 3 attempts")):
        with pytest.raises(APIError, match=told), framework.real_reason():
            raise APIConnectionError("failed after 3 attempts") from cause


async def test_a_wrong_key_is_tried_once() -> None:
    # The newest release sees to that itself; tests/matrix runs the older ones, which need `fair_retries`.
    refusal = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=9)
    async with Emulator(faults=[refusal]) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url)
        async with stt.stream() as stream:
            with pytest.raises(APIError, match="invalid_api_key"):
                await asyncio.wait_for(stream.__anext__(), 10)
        assert len(server.handshakes) == 1
        await stt.aclose()


async def test_how_long_a_connection_took_is_told_where_livekit_asks_for_it(stream: Any) -> None:
    told: list[Any] = []
    stream._stt.on("metrics_collected", told.append)
    framework.report_acquired(stream, 0.25, True)
    assert [(m.acquire_time, m.connection_reused) for m in told] == [(0.25, True)]
    framework.report_acquired(object(), 0.25)  # type: ignore[arg-type]


# -- voice activity detection --------------------------------------------------------------------------------------


@pytest.fixture
def no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release before 1.6, without livekit-plugins-silero."""
    monkeypatch.delattr(livekit.agents.inference, "VAD")
    assert importlib.util.find_spec("livekit.plugins.silero") is None


def test_the_detector_is_livekits_own() -> None:
    assert isinstance(framework.voice_detector()(), livekit.agents.inference.VAD)


@pytest.mark.usefixtures("no_detector")
def test_a_model_that_needs_a_detector_says_where_to_get_one() -> None:
    with pytest.raises(ValueError, match="livekit-plugins-silero"):
        STT(api_key="sk-test", model="gpt-live-transcribe")
    STT(api_key="sk-test", model="gpt-live-transcribe", vad=None)
    STT(api_key="sk-test", model="gpt-transcribe")


@pytest.mark.usefixtures("no_detector")
def test_a_change_to_a_model_that_needs_a_detector_is_refused_and_nothing_changed() -> None:
    stt = STT(api_key="sk-test", model="gpt-transcribe")
    with pytest.raises(ValueError, match="livekit-plugins-silero"):
        stt.update_options(model="gpt-live-transcribe")
    assert stt.model == "gpt-transcribe"


# -- the law -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_asks_what_livekit_has(path: Path) -> None:
    if path.name == "framework.py":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(_catches_imports(handler) for handler in node.handlers):
            assert "livekit" not in ast.unparse(node.body), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("livekit"):
            assert "__version__" not in {alias.name for alias in node.names}, f"{path.name}:{node.lineno}"


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    return any(name in caught for name in ("ImportError", "ModuleNotFoundError", "AttributeError"))


# -- the job -------------------------------------------------------------------------------------------------------


def test_numbers_from_a_job_say_which_one_and_others_say_nothing() -> None:
    assert job_attributes() == {}
    job = SimpleNamespace(id="AJ_1", room=SimpleNamespace(sid="RM_1"))
    context = contextvars.copy_context()
    context.run(livekit.agents.job._JobContextVar.set, SimpleNamespace(job=job))
    assert context.run(job_attributes) == {"job_id": "AJ_1", "room_id": "RM_1"}


@function_tool
async def one() -> None:
    """One."""


@function_tool
async def two() -> None:
    """Two."""


def test_tools_are_given_without_their_toolsets() -> None:
    toolset = llm.Toolset(id="both", tools=[two])
    assert [tool.info.name for tool in framework.flat_tools([one, toolset])] == ["one", "two"]
    assert framework.flat_tools([]) == []


def test_a_release_without_toolsets_gives_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(llm.ToolContext, "flatten")
    assert framework.flat_tools([one, two]) == [one, two]


def test_instructions_are_given_as_a_session_gets_them() -> None:
    assert framework.plain_instructions("Be brief.", spoken=True) == "Be brief."
    both = Instructions("Be kind.", audio="Speak slowly.", text="Write little.")
    assert framework.plain_instructions(both, spoken=True) == both.render(modality="audio")
    assert framework.plain_instructions(both, spoken=False) == both.render(modality="text")
