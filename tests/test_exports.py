"""The names people import, from both places, and that LiveKit knows the plugin."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import livekit.plugins.openai as official
import pytest
from livekit.agents import Plugin, llm
from livekit.agents.types import NOT_GIVEN
from livekit.plugins import openai_ga
from livekit.plugins.openai.realtime import realtime_model as official_model
from livekit.plugins.openai.realtime import utils as official_utils
from openai.types.beta.realtime import session as beta
from openai.types.realtime import AudioTranscription, realtime_audio_input_turn_detection
from pydantic import BaseModel

import livekit_plugins_openai_ga as package
from livekit_plugins_openai_ga import elsewhere, realtime
from livekit_plugins_openai_ga.log import logger

PUBLIC = {
    "livekit_plugins_openai_ga": [
        "STT",
        "MCPTool",
        "Price",
        "RealtimeModel",
        "RealtimeSession",
        "Recorder",
        "SpeechStream",
        "TranslatedText",
        "TranslationStream",
        "Translator",
        "__version__",
        "realtime",
        "recording",
        "rest",
        "stt",
        "translation",
    ],
    "livekit_plugins_openai_ga.realtime": [
        "CostLimitReached",
        "CostWarning",
        "Images",
        "InputAudioTimeoutTriggered",
        "MCPApprovalRequested",
        "MCPTool",
        "MCPToolsListed",
        "ModelChanged",
        "Price",
        "RateLimit",
        "RateLimitsUpdated",
        "RealtimeModel",
        "RealtimeSession",
        "Reply",
        "ReplyEnd",
        "ResponseIncomplete",
        "SaidOtherwise",
        "SessionCreated",
        "SessionInfo",
        "SessionUsage",
    ],
    "livekit_plugins_openai_ga.realtime.realtime_model": [
        "DEFAULT_VOICE",
        "NUM_CHANNELS",
        "OPENAI_BASE_URL",
        "SAMPLE_RATE",
        "RealtimeModel",
        "RealtimeSession",
        "process_base_url",
    ],
    "livekit_plugins_openai_ga.recording": ["Entry", "Header", "Recorder", "Recording", "Unreadable", "read"],
    "livekit_plugins_openai_ga.rest": [
        "Call",
        "Calls",
        "ClientSecret",
        "IncomingCall",
        "WebhookEvent",
        "WebhookRefused",
        "WebhookReplayed",
        "Webhooks",
        "create_client_secret",
    ],
    "livekit_plugins_openai_ga.stt": ["STT", "CostLimitReached", "CostWarning", "SessionUsage", "SpeechStream"],
    "livekit_plugins_openai_ga.translation": [
        "CostLimitReached",
        "CostWarning",
        "Reconnected",
        "SessionInfo",
        "TranslatedText",
        "TranslationStream",
        "TranslationUsage",
        "Translator",
        "TranslatorError",
    ],
    "livekit_plugins_openai_ga.emulator": [
        "Close",
        "Emulator",
        "EmulatorSession",
        "Knobs",
        "MCPCall",
        "Script",
        "ToolCall",
        "Turn",
        "faults",
        "speak",
    ],
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_exactly_these(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(PUBLIC[name])
    for public in PUBLIC[name]:
        assert getattr(module, public) is not None


def test_the_livekit_name_is_the_same_module_and_lives_beside_the_official_plugin() -> None:
    assert openai_ga is package
    assert importlib.import_module("livekit.plugins.openai_ga.realtime") is realtime
    assert openai_ga.realtime.RealtimeModel is package.RealtimeModel
    assert official.realtime.RealtimeModel is not package.RealtimeModel


@pytest.mark.parametrize(
    "statement",
    [
        "from livekit.plugins import openai_ga, openai; a = openai_ga.RealtimeModel",
        "import livekit.plugins.openai_ga.realtime.model as m; a = m.RealtimeModel",
        "from livekit.plugins.openai_ga.realtime import RealtimeModel as a",
    ],
)
def test_both_names_give_one_class_whichever_comes_first(statement: str) -> None:
    code = f"{statement}; from livekit_plugins_openai_ga import RealtimeModel as b; assert a is b; print(b.__module__)"
    root = Path(package.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert (done.stderr, done.stdout.strip()) == ("", "livekit_plugins_openai_ga.realtime.model")


def fresh(*statements: str) -> str:
    """What these print in an interpreter of their own."""
    root = Path(package.__file__).parent.parent
    command = [sys.executable, "-c", "\n".join(statements)]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60, check=True).stdout.strip()


def test_an_import_brings_what_calls_need_and_the_rest_comes_when_it_is_asked_for() -> None:
    told = fresh(
        "import sys",
        "import livekit_plugins_openai_ga as package",
        "def loaded(): return {name.split('.')[1] for name in sys.modules if name.startswith(package.__name__ + '.')}",
        "print({'realtime', 'stt', 'recording'} <= loaded(), loaded() & {'rest', 'translation'})",
        "print(package.Translator.__name__, loaded() & {'rest', 'translation'})",
        "package.rest.Webhooks",
        "print(loaded() >= {'rest', 'translation'}, {'rest', 'Translator'} <= vars(package).keys())",
    )
    assert told.splitlines() == ["True set()", "Translator {'translation'}", "True True"]


@pytest.mark.parametrize(
    "statement",
    [
        "from livekit_plugins_openai_ga import Translator as a",
        "from livekit_plugins_openai_ga import *; a = Translator; rest.Calls",
        "from livekit.plugins import openai_ga; a = openai_ga.translation.Translator",
        "import livekit.plugins.openai_ga.translation as translation; a = translation.Translator",
        "from livekit.plugins.openai_ga import rest, Translator as a; rest.Calls",
    ],
)
def test_what_comes_later_comes_by_every_way_of_asking(statement: str) -> None:
    ours = "from livekit_plugins_openai_ga.translation.translator import Translator as b"
    assert fresh(statement, ours, "print(a is b)") == "True"


def test_what_comes_later_is_listed_before_it_comes() -> None:
    listed = fresh("import livekit_plugins_openai_ga as package", "print(*dir(package))").split()
    assert {*package.__all__, "OpenAIGAPlugin"} <= set(listed)


def test_no_file_of_ours_takes_the_shared_namespace_over() -> None:
    """An `__init__.py` in `livekit` or `livekit/plugins` would hide every other plugin (PEP 420)."""
    root = Path(package.__file__).parent.parent / "livekit"
    assert [path.relative_to(root).as_posix() for path in root.rglob("*.py")] == ["plugins/openai_ga/__init__.py"]


@pytest.mark.timeout(300)
def test_a_type_checker_knows_both_names(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "from livekit.plugins import openai_ga as openai\n"
        "from livekit.plugins.openai_ga import realtime, recording, rest, stt, translation\n"
        "from livekit.plugins.openai_ga.realtime import RealtimeModel, realtime_model, utils\n"
        "from livekit.plugins.openai_ga.rest import Webhooks\n"
        "from livekit.plugins.openai_ga.stt import SAMPLE_RATE, STT\n"
        "from livekit.plugins.openai_ga.translation import Translator\n"
        "openai.realtime.RealtimeModel(voise='marin')\n"
        "RealtimeModel(voise='marin')\n"
        "openai.nonsense\n"
    )
    root = Path(package.__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null", "agent.py"]
    env = {**os.environ, "MYPYPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=280)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in found] == ["7", "8", "9"], done.stdout


def test_the_plugin_is_registered_under_its_own_name_and_version() -> None:
    (plugin,) = [plugin for plugin in Plugin.registered_plugins if plugin.package == "livekit_plugins_openai_ga"]
    assert plugin.version == package.__version__
    assert plugin.logger is logger
    assert logger.name == "livekit.plugins.openai_ga"


def test_the_classes_are_livekits_kind() -> None:
    assert issubclass(package.RealtimeModel, llm.RealtimeModel)
    assert issubclass(package.RealtimeSession, llm.RealtimeSession)


# -- the official plugin's names -----------------------------------------------------------------------------------

OFFICIAL = ("", "realtime", "realtime.realtime_model", "realtime.utils", "stt")
OLD = {"RealtimeModelBeta", "RealtimeSessionBeta", "realtime_model_beta", "DEFAULT_TEMPERATURE"}
"""Names of its releases 1.2 to 1.5 that 1.8.9 has no more."""


def under(package_name: str, inner: str) -> ModuleType:
    return importlib.import_module(f"{package_name}.{inner}" if inner else package_name)


def public_names(module: ModuleType) -> set[str]:
    """What a module offers: `__all__`, what it defines, what it exports as `x as x`, and its submodules."""
    names = set(getattr(module, "__all__", ()))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names if alias.asname == alias.name}
    names |= {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", ()))}
    return {name for name in names if not name.startswith("_")} - {"NOT_IN_ALL"}  # of their documentation generator


NAMES = [(inner, name) for inner in OFFICIAL for name in sorted(public_names(under(official.__name__, inner)))]


def test_the_walk_finds_the_names_people_import() -> None:
    assert {("", "STT"), ("", "LLM"), ("", "tts"), ("realtime", "utils"), ("stt", "SpeechStream")} <= set(NAMES)
    assert {("realtime.realtime_model", "process_base_url"), ("realtime.utils", "to_turn_detection")} <= set(NAMES)
    assert len(NAMES) > 50


@pytest.mark.parametrize(("inner", "name"), NAMES)
def test_an_official_name_is_here_or_one_sentence_says_where_it_is(inner: str, name: str) -> None:
    ours = under("livekit.plugins.openai_ga", inner)
    if hasattr(ours, name):
        return
    with pytest.raises(AttributeError) as refused:
        getattr(ours, name)
    said = str(refused.value)
    assert said == elsewhere.sentence(ours.__name__, name)
    assert f" has no {name} (" in said
    home = ".".join(filter(None, ["livekit.plugins.openai", inner]))
    assert said.endswith(f"): import it from {home}, which may stay installed beside this plugin.")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from livekit.plugins.openai_ga import LLM", "LLM"),
        ("from livekit_plugins_openai_ga import TTS", "TTS"),
        ("from livekit.plugins.openai_ga.llm import LLM", "llm"),
        ("import livekit.plugins.openai_ga.responses", "responses"),
        ("from livekit.plugins.openai_ga.realtime import GPTLiveModel", "GPTLiveModel"),
        ("from livekit.plugins.openai_ga.realtime.realtime_model_beta import RealtimeModelBeta", "realtime_model_beta"),
    ],
)
def test_an_import_shows_the_sentence_too(statement: str, name: str) -> None:
    with pytest.raises(ImportError) as refused:
        exec(statement, {})
    assert not isinstance(refused.value, ModuleNotFoundError)
    assert f" has no {name}" in str(refused.value)
    assert str(refused.value).endswith((" beside this plugin.", "use RealtimeModel."))


def test_a_misspelt_name_gets_pythons_own_words() -> None:
    misspelt = "RealtimeModle"
    with pytest.raises(AttributeError, match=r"^module 'livekit_plugins_openai_ga' has no attribute 'RealtimeModle'$"):
        getattr(openai_ga, misspelt)
    with pytest.raises(ImportError, match=r"^cannot import name 'RealtimeModle'"):
        exec(f"from livekit.plugins.openai_ga import {misspelt}", {})
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'livekit_plugins_openai_ga.sst'"):
        importlib.import_module("livekit.plugins.openai_ga.sst")


def test_nothing_that_is_here_is_said_to_be_elsewhere() -> None:
    listed = {(inner, name) for inner, names in elsewhere.NAMES.items() for name in names}
    assert {(inner, name) for inner, name in listed if hasattr(under(package.__name__, inner), name)} == set()
    assert {name for inner, name in listed - set(NAMES)} == OLD


# -- the official plugin's conversions -----------------------------------------------------------------------------

VAD = realtime_audio_input_turn_detection
CONVERSIONS: list[tuple[str, Any]] = [
    ("to_noise_reduction", NOT_GIVEN),
    ("to_noise_reduction", None),
    ("to_noise_reduction", "near_field"),
    ("to_noise_reduction", beta.InputAudioNoiseReduction(type="far_field")),
    ("to_audio_transcription", None),
    ("to_audio_transcription", AudioTranscription(model="whisper-1", language="en")),
    ("to_audio_transcription", beta.InputAudioTranscription(model="whisper-1", prompt="trains")),
    ("to_turn_detection", NOT_GIVEN),
    ("to_turn_detection", None),
    ("to_turn_detection", VAD.ServerVad(type="server_vad", threshold=0.4, silence_duration_ms=300)),
    ("to_turn_detection", beta.TurnDetection(type="server_vad", prefix_padding_ms=100, create_response=False)),
    ("to_turn_detection", beta.TurnDetection(type="semantic_vad", eagerness="low", interrupt_response=True)),
    ("to_oai_tool_choice", None),
    ("to_oai_tool_choice", "required"),
    ("to_oai_tool_choice", {"type": "function", "function": {"name": "weather"}}),
    ("livekit_item_to_openai_item", llm.ChatMessage(id="m1", role="user", content=["Hello.", "Anybody there?"])),
    ("livekit_item_to_openai_item", llm.ChatMessage(id="m2", role="assistant", content=["Yes."])),
    ("livekit_item_to_openai_item", llm.ChatMessage(id="m3", role="developer", content=["Be kind."])),
    ("livekit_item_to_openai_item", llm.ChatMessage(id="m4", role="user", content=[])),
    ("livekit_item_to_openai_item", llm.FunctionCall(id="f1", call_id="c" * 40, name="weather", arguments="{}")),
    (
        "livekit_item_to_openai_item",
        llm.FunctionCallOutput(id="o1", call_id="c1", name="weather", output="sunny", is_error=False),
    ),
]


def on_the_wire(value: Any) -> Any:
    return value.model_dump(by_alias=True, exclude_none=True) if isinstance(value, BaseModel) else value


@pytest.mark.parametrize(("function", "value"), CONVERSIONS)
def test_a_conversion_says_on_the_wire_what_the_official_one_says(function: str, value: Any) -> None:
    ours = getattr(realtime.utils, function)(value)
    assert not isinstance(ours, BaseModel)
    assert ours == on_the_wire(getattr(official_utils, function)(value))


@pytest.mark.parametrize("item", [value for name, value in CONVERSIONS if name.startswith("livekit")][:3])
def test_an_item_comes_back_the_same_as_there(item: llm.ChatItem) -> None:
    wire = official_utils.livekit_item_to_openai_item(item)
    theirs = official_utils.openai_item_to_livekit_item(wire)
    for form in (wire, on_the_wire(wire)):
        ours = realtime.utils.openai_item_to_livekit_item(form)
        assert ours.model_dump(exclude={"created_at"}) == theirs.model_dump(exclude={"created_at"})


def test_spoken_parts_come_back_as_their_transcripts() -> None:
    content = [{"type": "output_audio", "transcript": "Good morning."}]
    item = {"id": "i1", "type": "message", "role": "assistant", "content": content}
    message = realtime.utils.openai_item_to_livekit_item(item)
    assert (message.type, message.content) == ("message", ["Good morning."])


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(ValueError, match="agent_handoff"):
        realtime.utils.livekit_item_to_openai_item(llm.AgentHandoff(new_agent_id="a"))
    with pytest.raises(ValueError, match="id"):
        realtime.utils.openai_item_to_livekit_item({"type": "message", "role": "user", "content": []})
    with pytest.raises(ValueError, match="mcp_call"):
        realtime.utils.openai_item_to_livekit_item({"id": "i1", "type": "mcp_call"})


def test_confidence_comes_of_dicts_and_of_objects() -> None:
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": []}, {"token": "b", "logprob": -0.1, "bytes": []}]
    objects = [type("LogProb", (), each)() for each in logprobs]
    theirs = official_utils.calculate_confidence_from_logprobs(objects)
    ours = realtime.utils.calculate_confidence_from_logprobs
    assert ours(logprobs) == ours(objects) == pytest.approx(theirs)
    assert ours([]) is ours(None) is None


@pytest.mark.parametrize("name", sorted(public_names(official_utils)))
def test_the_conversions_take_the_same_parameters_and_the_defaults_have_the_same_values(name: str) -> None:
    ours, theirs = getattr(realtime.utils, name), getattr(official_utils, name)
    if inspect.isfunction(theirs):
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    elif name not in ("DEFAULT_INPUT_AUDIO_TRANSCRIPTION", "DEFAULT_MAX_SESSION_DURATION"):  # better ones: docs/swap.md
        assert ours == on_the_wire(theirs)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://127.0.0.1:80", "wss://gw.example/openai?team=a"])
@pytest.mark.parametrize("azure", [{}, {"is_azure": True, "azure_deployment": "voice"}])
def test_a_base_url_becomes_the_same_url(url: str, azure: dict[str, Any]) -> None:
    if azure and url.endswith("/v1"):
        url = "https://resource.openai.azure.com/openai/v1"
    ours = realtime.realtime_model.process_base_url(url, "gpt-realtime", **azure)
    assert ours == official_model.process_base_url(url, "gpt-realtime", **azure)


def test_a_base_url_with_a_prefix_leads_to_the_realtime_path_and_azures_dated_dialect_is_refused() -> None:
    process_base_url = realtime.realtime_model.process_base_url
    assert process_base_url("https://gw/prefix/v1", "m") == "wss://gw/prefix/v1/realtime?model=m"
    with pytest.raises(ValueError, match="api_version"):
        process_base_url("https://r.openai.azure.com", "m", True, "voice", "2024-10-01-preview")


def test_the_constants_of_the_realtime_module_are_the_official_ones() -> None:
    for name in ("SAMPLE_RATE", "NUM_CHANNELS", "OPENAI_BASE_URL", "DEFAULT_VOICE"):
        assert getattr(realtime.realtime_model, name) == getattr(official_model, name)
