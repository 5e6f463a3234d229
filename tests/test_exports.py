"""The names people import, from both places, and that LiveKit knows the plugin."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import livekit.plugins.openai as official
import pytest
from livekit.agents import Plugin, llm
from livekit.plugins import openai_ga

import livekit_plugins_openai_ga as package
from livekit_plugins_openai_ga import realtime
from livekit_plugins_openai_ga.log import logger

PUBLIC = {
    "livekit_plugins_openai_ga": [
        "STT",
        "RealtimeModel",
        "RealtimeSession",
        "SpeechStream",
        "__version__",
        "realtime",
        "stt",
    ],
    "livekit_plugins_openai_ga.realtime": ["RealtimeModel", "RealtimeSession"],
    "livekit_plugins_openai_ga.stt": ["STT", "SpeechStream"],
    "livekit_plugins_openai_ga.emulator": [
        "Close",
        "Emulator",
        "EmulatorSession",
        "Knobs",
        "Script",
        "ToolCall",
        "Turn",
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


def test_no_file_of_ours_takes_the_shared_namespace_over() -> None:
    """An `__init__.py` in `livekit` or `livekit/plugins` would hide every other plugin (PEP 420)."""
    root = Path(package.__file__).parent.parent / "livekit"
    assert [path.relative_to(root).as_posix() for path in root.rglob("*.py")] == ["plugins/openai_ga.py"]


def test_the_plugin_is_registered_under_its_own_name_and_version() -> None:
    (plugin,) = [plugin for plugin in Plugin.registered_plugins if plugin.package == "livekit_plugins_openai_ga"]
    assert plugin.version == package.__version__
    assert plugin.logger is logger
    assert logger.name == "livekit.plugins.openai_ga"


def test_the_classes_are_livekits_kind() -> None:
    assert issubclass(package.RealtimeModel, llm.RealtimeModel)
    assert issubclass(package.RealtimeSession, llm.RealtimeSession)
