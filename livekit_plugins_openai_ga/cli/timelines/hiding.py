"""Takes keys out of facts, in the one place that all of them pass: an application's own file may hold anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from typing import Any

from ...recording.scrub import Scrub
from .facts import Facts


def hide_keys(facts: Facts) -> None:
    """Replace whatever looks like a key in any text of `facts`, as the recorder does."""
    scrub = Scrub()
    facts.model = _hidden(scrub, "text", facts.model)
    facts.header = replace(
        facts.header, **{name: _hidden(scrub, "text", getattr(facts.header, name)) for name in ("model", "host")}
    )
    lists: Iterable[Iterable[Any]] = (
        *(facts.utterances, facts.replies, facts.speeches, facts.tools, facts.phrases),
        *(facts.connections, facts.outages, facts.problems, facts.moments),
    )
    for fact in chain.from_iterable(lists):
        for field in fields(fact):
            value = getattr(fact, field.name)
            if value and not is_dataclass(value):
                setattr(fact, field.name, _hidden(scrub, field.name, value))


def _hidden(scrub: Scrub, name: str, value: Any) -> Any:
    """`name` as the protocol has it: in arguments there is JSON."""
    if isinstance(value, list):
        return [_hidden(scrub, name, inner) for inner in value]
    return scrub({name: value})[name] if isinstance(value, str) else value
