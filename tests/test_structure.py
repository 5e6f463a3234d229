"""Laws that no single module can hold by itself: who may import whom, size, docstrings, a quiet import."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import livekit_plugins_openai_ga

PACKAGE = livekit_plugins_openai_ga.__name__
ROOT = Path(livekit_plugins_openai_ga.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 420

GROUND = frozenset({"errors", "failures", "redaction", "models", "prices", "version", "log", "elsewhere"})
"""Modules that know nothing but the standard library and each other."""

EDGE = frozenset(
    {
        *("realtime", "stt", "translation", "rest"),
        *("post", "audio", "formats", "options", "session_fields", "reply_fields", "connection", "azure", "api_errors"),
        *("images", "notices", "info", "framework", "counters", "spending", "recorded", "__init__"),
    }
)
"""Where LiveKit is visible."""

# Room -> the rooms it may import from, besides itself and the ground.
LAWS: dict[str, frozenset[str]] = {
    "ground": frozenset(),
    "wire": frozenset(),
    "core": frozenset({"wire"}),
    "transport": frozenset({"wire", "core"}),
    "emulator": frozenset({"wire"}),
    "recording": frozenset({"wire", "core", "transport"}),
    "edge": frozenset({"wire", "core", "transport", "recording"}),
    "devtools": frozenset({"wire", "core", "transport", "recording", "edge", "emulator"}),
    "replay": frozenset({"wire", "core", "recording", "edge", "emulator"}),
    # `python -m livekit_plugins_openai_ga`, and `.emulator`, which is one of its commands; nothing imports them.
    "cli": frozenset({"wire", "core", "transport", "recording", "edge", "emulator", "devtools", "replay"}),
    "__main__": frozenset({"cli"}),
}
# Room, or module -> what it may import that is neither ours nor the standard library's.
FOREIGN: dict[str, frozenset[str]] = {
    "wire.codec": frozenset({"pydantic_core", "pybase64"}),
    "emulator.webrtc": frozenset({"aiortc", "av", "numpy"}),
    "ground": frozenset(),
    "wire": frozenset(),
    "core": frozenset(),
    "transport": frozenset({"websockets"}),
    "recording": frozenset(),
    "emulator": frozenset({"websockets", "numpy", "espeakng_loader"}),
    "emulator.ringing": frozenset({"aiohttp"}),
    "edge": frozenset({"livekit", "numpy", "aiohttp", "prometheus_client", "opentelemetry"}),
    "replay": frozenset({"websockets", "livekit"}),
    "cli": frozenset(),
    "cli.timelines.heard": frozenset({"numpy"}),
    "cli.timelines.sound": frozenset({"numpy"}),
    "cli.timelines.waves": frozenset({"numpy"}),
    "cli.doctor_probes": frozenset({"livekit"}),
    "__main__": frozenset(),
}
WORLD = frozenset({"asyncio", "time", "socket", "ssl", "threading", "random", "os", "datetime", "logging"})
"""What makes the result of a call depend on more than its arguments."""


def room(module: str) -> str:
    """The room of a module named relative to the package, for example `core.mirror`."""
    if module.endswith("__main__"):
        return "__main__"
    top = module.partition(".")[0]
    if top in GROUND:
        return "ground"
    return "edge" if top in EDGE else top


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything a module imports, wherever in it and whether or not for type checking only."""
    package = [PACKAGE, *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """Modules of the package that a module imports, relative to the package."""
    return {name.removeprefix(PACKAGE + ".") for name in imports(path) if name.startswith(PACKAGE + ".")}


def foreign(path: Path) -> set[str]:
    """Top-level packages that are neither ours nor the standard library's."""
    tops = {name.partition(".")[0] for name in imports(path)}
    return tops - set(sys.stdlib_module_names) - {PACKAGE}


def in_rooms(*rooms: str) -> list[Path]:
    return [path for path in MODULES if room(name_of(path)) in rooms]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_lives_in_a_room_that_has_laws() -> None:
    assert {room(name_of(path)) for path in MODULES} <= set(LAWS)


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_imports_only_from_rooms_below_it(path: Path) -> None:
    here = room(name_of(path))
    allowed = LAWS[here] | {here, "ground"}
    assert {name: room(name) for name in ours(path) if room(name) not in allowed} == {}


@pytest.mark.parametrize("path", [path for path in MODULES if path not in in_rooms("devtools")], ids=shown)
def test_a_module_knows_only_the_libraries_of_its_room(path: Path) -> None:
    name = name_of(path)
    assert foreign(path) <= FOREIGN.get(name, FOREIGN[room(name)])


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_the_openai_sdk_is_never_imported(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] == "openai" or "plugins.openai." in name + "."] == []


def test_the_kinds_of_session_know_nothing_of_each_other() -> None:
    sessions = ("realtime", "stt", "translation")
    for one, other in (*itertools.permutations(sessions, 2), *itertools.product(["rest"], sessions)):
        for path in (ROOT / one).glob("*.py"):
            assert {name for name in ours(path) if name.split(".")[0] == other} == set(), shown(path)


@pytest.mark.parametrize("path", in_rooms("core"), ids=shown)
def test_the_core_has_no_clock_no_socket_and_no_event_loop(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & WORLD == set()


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_stays_readable_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_everything_public_says_what_it_is(path: Path) -> None:
    assert list(_undocumented(ast.parse(path.read_text(encoding="utf-8")), "")) == []


def _undocumented(node: ast.AST, prefix: str) -> Iterator[str]:
    if isinstance(node, ast.Module) and ast.get_docstring(node) is None:
        yield "the module"
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or child.name.startswith("_"):
            continue
        overloads = {ast.unparse(decorator).rpartition(".")[2] for decorator in child.decorator_list}
        if ast.get_docstring(child) is None and "overload" not in overloads:
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from _undocumented(child, f"{prefix}{child.name}.")


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = [shown(path) for path in MODULES if path.stem in {"utils", "helpers", "common", "misc"}]
    assert drawers == ["realtime/utils.py"]  # the official plugin's name for its conversions


_WATCH = """
import json, sys, threading
import livekit.agents, websockets, numpy  # theirs is theirs
seen = []
def hook(event, args):
    if event.split(".")[0] in ("socket", "subprocess") or event in ("os.fork", "os.system", "_thread.start_new_thread"):
        seen.append(event)
before = threading.active_count()
sys.addaudithook(hook)
import asyncio
made = []
new_event_loop = asyncio.new_event_loop
asyncio.new_event_loop = lambda: made.append(1) or new_event_loop()
import PACKAGE
print(json.dumps([seen, threading.active_count() - before, len(made)]))
"""


def test_importing_the_package_opens_nothing_and_starts_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCH.replace("PACKAGE", PACKAGE)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        timeout=60,
    )
    seen, threads, loops = json.loads(done.stdout.splitlines()[-1])
    assert (seen, threads, loops) == ([], 0, 0)
    assert done.stderr == ""
