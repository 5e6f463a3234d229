"""Names that a module does not have: they come when they are first asked for, or one sentence says where they are.

The sentences are for names of LiveKit's official OpenAI plugin: `livekit_plugins_openai_ga.LLM` and `hasattr` see a
missing attribute. `from livekit_plugins_openai_ga import LLM` would make Python forget the sentence ("cannot import
name"), so a finder stands behind all others on `sys.meta_path`: Python asks it for a submodule of that name, and it
answers with the sentence as an ImportError. Names are those of livekit-plugins-openai 1.8.9, and of its releases since
1.2.8.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]
_OFFICIAL = "livekit.plugins.openai"

_CHAT = "chat models"
_SPEAKS = "text to speech"
_RESPONSES = "the Responses API"
_EMBEDS = "embeddings"
_DECIDES = "decision models"
_LIVE = "GPT-Live models"
_ROUTER = "an option of OpenRouter's chat models"
_BETA = ""
"""It belonged to the beta API, which is gone from the official plugin, too."""

NAMES: Mapping[str, Mapping[str, str]] = {
    "": {
        "LLM": _CHAT,
        "LLMStream": _CHAT,
        "llm": _CHAT,
        "TTS": _SPEAKS,
        "tts": _SPEAKS,
        "TTSModels": f"a type of {_SPEAKS}",
        "TTSVoices": f"a type of {_SPEAKS}",
        "STTModels": "a type of speech to text; here `model` is any text",
        "responses": _RESPONSES,
        "tools": f"server-side tools of {_RESPONSES}",
        "create_embeddings": _EMBEDS,
        "EmbeddingData": _EMBEDS,
        "embeddings": _EMBEDS,
        "DecisionModel": _DECIDES,
        "DecisionModels": _DECIDES,
        "decision_model": _DECIDES,
        "OpenRouterProviderPreferences": _ROUTER,
        "OpenRouterWebPlugin": _ROUTER,
        "OpenAIPlugin": "how the official plugin registers itself",
        "utils": "its internals",
    },
    "realtime": {
        "GPTLiveModel": _LIVE,
        "GPTLiveSession": _LIVE,
        "GPTLiveDelegation": _LIVE,
        "GPTLiveVoices": f"a type of {_LIVE}",
        "ResponsesDelegationOptions": f"an option of {_LIVE}",
        "gpt_live_model": _LIVE,
        "gpt_live_types": _LIVE,
        "InferenceRealtimeModel": "realtime models through LiveKit Inference",
        "inference_realtime_model": "realtime models through LiveKit Inference",
        "RealtimeModelBeta": _BETA,
        "RealtimeSessionBeta": _BETA,
        "realtime_model_beta": _BETA,
    },
    "realtime.realtime_model": {
        "lk_oai_debug": "its debug switch; here the logger livekit.plugins.openai_ga tells",
        "DEFAULT_TEMPERATURE": _BETA,
    },
}
"""Module (relative to the package) -> name -> what it is."""


def sentence(module: str, name: str) -> str | None:
    """Why the package's `module` (its full name) has no `name`, and what to do; None for names nobody ever had."""
    inner = module.removeprefix(_PACKAGE).removeprefix(".")
    what = NAMES.get(inner, {}).get(name)
    if what is None:
        return None
    if what == _BETA:
        return f"{module} has no {name}: it belonged to the beta API, which OpenAI has shut down; use RealtimeModel."
    home = f"{_OFFICIAL}.{inner}" if inner else _OFFICIAL
    return f"{module} has no {name} ({what}): import it from {home}, which may stay installed beside this plugin."


def attribute(module: str, later: Mapping[str, str] = MappingProxyType({})) -> Callable[[str], Any]:
    """The `__getattr__` of a module: imports what comes later, else raises AttributeError, with the sentence if any.

    `later`: name -> the submodule it comes from, which may be the name itself.
    """

    def missing(name: str) -> Any:
        if (home := later.get(name)) is None:
            raise AttributeError(sentence(module, name) or f"module {module!r} has no attribute {name!r}")
        found = import_module(f"{module}.{home}")
        if name != home:
            found = getattr(found, name)
        setattr(sys.modules[module], name, found)
        return found

    return missing


class _Signpost(MetaPathFinder):
    """Answers an import of what is not here with the sentence; raises ImportError."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module, _, name = fullname.rpartition(".")
        if fullname.startswith(_PACKAGE + ".") and (why := sentence(module, name)) is not None:
            raise ImportError(why, name=fullname)
        return None


sys.meta_path.append(_Signpost())
