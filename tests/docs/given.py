"""What pages take for granted: names that their Python uses and does not make, by page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from livekit.agents import AgentServer

from .blocks import ROOT


def _the_agent() -> dict[str, Any]:
    """What `examples/agent.py` has, which is the README's agent."""
    names: dict[str, Any] = {"__name__": "agent"}
    exec(compile((ROOT / "examples" / "agent.py").read_text(), "agent.py", "exec", dont_inherit=True), names)
    return {**names, "server": AgentServer()}  # it takes one entrypoint only


def _a_vault() -> dict[str, Any]:
    async def read(name: str) -> str:
        return f"sk-from-the-vault-{name}"

    return {"vault": SimpleNamespace(read=read)}


def _azure_identity() -> dict[str, Any]:
    """`azure-identity` is no development dependency; its two names, as they are called."""
    azure, identity = ModuleType("azure"), ModuleType("azure.identity")
    identity.__dict__.update(
        DefaultAzureCredential=lambda: "credential",
        get_bearer_token_provider=lambda credential, scope: lambda: f"token of {credential} for {scope}",
    )
    sys.modules.setdefault("azure", azure)
    sys.modules.setdefault("azure.identity", identity)
    return {}


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "docs/gateways.md": _azure_identity,
    "docs/keys.md": _a_vault,
    "docs/production.md": _the_agent,
}
