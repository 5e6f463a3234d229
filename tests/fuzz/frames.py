"""What a frame can hold, from a seed: real events with something wrong in them, and what was never an event.

Events are taken from the scenes, and one of each name is made up with all its fields. They are changed as trees (types,
missing and doubled fields, numbers and texts at the edge) and as text (flipped, cut, doubled and foreign pieces).
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livekit_plugins_openai_ga.wire import renames
from livekit_plugins_openai_ga.wire import server_events as ev

SCENES = sorted((Path(__file__).parent.parent / "scenes").glob("*.jsonl"))
DEEP = 60

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400),
    *(float("inf"), float("-inf"), float("nan"), 1e308, 5e-324),
    *("", " ", "x", "null", "0", "\0", "\ud800", "\udfff\ud800", "\u202e", "é" * 50, "A" * 5000, "=" * 7, "session"),
    *([], {}, [[]], [None], [{}], [1, "a", {}], {"": None}, {"type": "text"}, {"id": 1}, {"type": {"type": []}}),
)
PIECES = (
    *('"', "'", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "NaN", "-Infinity", "1e999", "-1e999", "1e-999"),
    *("0" * 20, "9" * 5000, "-", "\\ud800", "\\u0000", "\\x", "\0", "\ufeff", "\u2028", "\udcff", "/**/", "\n\n"),
    *('"type":"error",', '"type":null,', '"item":{},', '"response":{"id":"r"},', '{"type":"session.updated"}'),
)


def _made_up(hint: Any) -> Any:
    """Some value of an annotated type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return {f.metadata.get("wire", f.name): _made_up(hints[f.name]) for f in dataclasses.fields(hint)}
    if type(None) in args:
        return _made_up(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        return [_made_up(args[0])]
    return {str: "text", int: 7, float: 0.5}.get(hint, {})


def _corpus() -> list[str]:
    lines = [json.loads(line) for path in SCENES for line in path.read_text(encoding="utf-8").splitlines()]
    events = [line["server"] for line in lines if "server" in line]
    events += [{"type": name, "event_id": "event_1", **_made_up(cls)} for name, cls in ev.EVENTS.items()]
    events += [{"type": name, "event_id": "event_1"} for name in (*ev.IGNORED, "response.of.the.future")]
    return list(dict.fromkeys(json.dumps(event) for event in events))


CORPUS = _corpus()
NAMES = (*ev.EVENTS, *ev.IGNORED, *renames.SERVER_EVENTS, "response.of.the.future")


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place in a tree, as what holds it and its key there."""
    found: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                todo.append(holder[key])
    return found


def _junk(rng: random.Random, tree: dict[str, Any]) -> None:
    holder, key = rng.choice(_places(tree))
    holder[key] = copy.deepcopy(rng.choice(JUNK))


def _gone(rng: random.Random, tree: dict[str, Any]) -> None:
    holder, key = rng.choice(_places(tree))
    del holder[key]


def _swapped(rng: random.Random, tree: dict[str, Any]) -> None:
    places = _places(tree)
    (one, a), (other, b) = rng.choice(places), rng.choice(places)
    value = json.loads(json.dumps(other[b]))  # a copy: a tree that holds itself is no JSON
    one[a] = value


def _other_event(rng: random.Random, tree: dict[str, Any]) -> None:
    tree["type"] = rng.choice(NAMES)


def _mixed(rng: random.Random, tree: dict[str, Any]) -> None:
    tree.update(json.loads(rng.choice(CORPUS)))


def _wrapped(rng: random.Random, tree: dict[str, Any]) -> None:
    holder, key = rng.choice(_places(tree))
    for _ in range(rng.choice((1, 2, DEEP))):
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"item": holder[key]}


TREE: tuple[Callable[[random.Random, dict[str, Any]], None], ...] = (
    *(_junk, _junk, _junk, _gone, _swapped, _other_event, _mixed, _wrapped),
)


def _flipped(rng: random.Random, text: str) -> str:
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data.decode("utf-8", "replace")


def _cut(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] if rng.random() < 0.7 else text[at:]


def _doubled(rng: random.Random, text: str) -> str:
    a, b = sorted((rng.randrange(len(text)), rng.randrange(len(text))))
    return text[:b] + text[a:]


def _lost(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + text[at + rng.choice((1, 2, 10)) :]


def _foreign(rng: random.Random, text: str) -> str:
    at = rng.choice((0, 1, rng.randrange(len(text)), len(text)))
    return text[:at] + rng.choice(PIECES) + text[at:]


def _buried(rng: random.Random, text: str) -> str:
    depth = rng.choice((10, 900, 1100, 20_000))
    opens, closes = rng.choice((("[", "]"), ('{"a":', "}"), ('{"item":', "}")))
    shut = closes * (depth if rng.random() < 0.5 else 0)
    return rng.choice(("", '{"type":"error","error":')) + opens * depth + text + shut


TEXT: tuple[Callable[[random.Random, str], str], ...] = (_flipped, _flipped, _cut, _doubled, _lost, _foreign, _foreign)


def _nonsense(rng: random.Random) -> str | bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return rng.randbytes(rng.randrange(200)).decode("utf-8", "surrogateescape")
    if kind == 2:
        return json.dumps(rng.choice(JUNK))
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 8)))


def frame(seed: int) -> str | bytes:
    """The frame of this seed; the same one each time."""
    rng = random.Random(seed)
    dice = rng.random()
    if dice < 0.05:
        return _nonsense(rng)
    text = rng.choice(CORPUS)
    if dice < 0.08:
        return text
    if dice < 0.085:
        return _buried(rng, text)
    if dice < 0.75:
        tree = json.loads(text)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if tree:
                rng.choice(TREE)(rng, tree)
        text = json.dumps(tree, ensure_ascii=rng.random() < 0.7)
    if dice > 0.6:
        for _ in range(rng.choice((1, 1, 2, 4))):
            if text:
                text = rng.choice(TEXT)(rng, text)
    # The server sends text; a text in a binary frame is what a bad gateway makes of it.
    return text.encode("utf-8", "surrogatepass") if rng.random() < 0.05 else text
