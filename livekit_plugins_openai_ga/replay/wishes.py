"""What the application wanted, read out of what its client sent: options, items, tools, replies. No state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from livekit.agents import llm

from ..core.replies import CORRELATION
from ..errors import Kind
from ..recording.entries import Entry, Recording, audio_ms
from ..session_fields import FIELDS, Field
from ..wire.session import LOGPROBS
from .filling import filled
from .tape import APPENDS

_SILENCE = re.compile(r"no sign of life for (\d+(?:\.\d+)?) s")
"""What the plugin says of a peer that it gives up, after two heartbeats."""

_CLEARED = ("input_audio_transcription", "turn_detection")
"""What a session is told to be without by not being told of it at all."""

_REPLY_FIELDS = ("tool_choice", "output_modalities", "max_output_tokens", "reasoning", "parallel_tool_calls", "prompt")


def first_update(recording: Recording) -> Mapping[str, Any] | None:
    """The `session` of the first `session.update`; None when none was sent."""
    for entry in recording.entries:
        if entry.direction == "out" and entry.event["type"] == "session.update":
            session: Mapping[str, Any] = filled(entry.event).get("session") or {}
            return session
    return None


def chunk_ms(recording: Recording) -> float:
    """How much audio the client put into one message, mostly; 20 when it sent none."""
    form = recording.header.input_format
    sizes = Counter(
        round(audio_ms(entry.event.get("audio"), form), 3)
        for entry in recording.entries
        if entry.direction == "out" and entry.event["type"] in APPENDS
    )
    return min(100.0, max(1.0, sizes.most_common(1)[0][0])) if sizes else 20.0


def heartbeat(recording: Recording) -> dict[str, float]:
    """`heartbeat=`, where a peer that fell silent tells how it was; {}: as it is by default."""
    for entry in recording.entries:
        if entry.event.get("code") == "timeout" and (found := _SILENCE.search(str(entry.event.get("sentence")))):
            return {"heartbeat": float(found[1]) / 2}
    return {}


def retries(recording: Recording) -> int:
    """`max_retry`: as often as the client tried again, and no more when it gave up then; 3 by default."""
    notes = [entry.event for entry in recording.entries if entry.direction == "note"]
    tries = [note["type"] for note in notes].count("retry")
    ends = [note for note in notes if note["type"] != "closed"]
    last: Mapping[str, Any] = ends[-1] if ends else {}
    gave_up = last.get("type") == "failed" and last.get("kind") == Kind.RECONNECT.value
    return tries if gave_up else max(3, tries)


def options(update: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """The options of a `RealtimeModel` that a `session` was made of. `whole`: it says all that holds."""
    found = {name: _in(update, field) for name, field in FIELDS.items() if _has(update, field)}
    if whole:
        found = {**dict.fromkeys(_CLEARED), **found}
    return found


def _box(update: Mapping[str, Any], field: Field) -> Mapping[str, Any]:
    audio: Any = update if field.box == "session" else (update.get("audio") or {}).get(field.box)
    return audio if isinstance(audio, Mapping) else {}


def _has(update: Mapping[str, Any], field: Field) -> bool:
    return field.wire in _box(update, field)


def _in(update: Mapping[str, Any], field: Field) -> Any:
    return _box(update, field)[field.wire]


def transcription_options(update: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The options of an `STT` that a `session` was made of."""
    heard = (update.get("audio") or {}).get("input") or {}
    told = heard.get("transcription") or {}
    given: dict[str, Any] = {name: told[name] for name in ("prompt", "keywords", "delay") if name in told}
    language = told.get("languages") or told.get("language")
    given |= {"language": language} if language else {"detect_language": True}
    if "turn_detection" in heard:
        given["turn_detection"] = heard["turn_detection"]
    if heard.get("noise_reduction"):
        given["noise_reduction_type"] = heard["noise_reduction"].get("type")
    if "format" in heard:
        given["input_audio_format"] = heard["format"]
    model = told.get("model") or model
    return {**given, **({"model": model} if model else {}), "include_logprobs": LOGPROBS in update.get("include", ())}


def translation_options(update: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The options of a `Translator` that a `session` was made of."""
    audio = update.get("audio") or {}
    heard, spoken = audio.get("input") or {}, audio.get("output") or {}
    noise = heard.get("noise_reduction") or {}
    return {
        "target_language": spoken.get("language") or "en",
        "transcribe_source": (heard.get("transcription") or {}).get("model"),
        "noise_reduction": noise.get("type"),
        **({"model": model} if model else {}),
    }


def tool(payload: Mapping[str, Any]) -> Any:
    """A tool, as LiveKit knows it, that is sent as `payload`."""
    if payload.get("type") != "function":
        return dict(payload)

    async def never_called(raw_arguments: dict[str, object]) -> None:
        """What it answered stands in the recording."""

    schema = {key: value for key, value in payload.items() if key != "type"}
    return llm.function_tool(never_called, raw_schema=schema)


def reply(response: Mapping[str, Any], instructions: str) -> dict[str, Any]:
    """The arguments of the `generate_reply` that this `response` was made of. `instructions`: the session's."""
    given: dict[str, Any] = {name: response[name] for name in _REPLY_FIELDS if name in response}
    if "conversation" in response:
        given["conversation"] = response["conversation"]
    if "input" in response:
        given["input"] = list(response["input"])
    if "instructions" in response:
        prefix = f"{instructions}\n" if instructions else ""
        text = str(response["instructions"])
        if len(text) > len(prefix) and (text.startswith(prefix) or set(text) == {"x"}):
            text = text[len(prefix) :]
        given["instructions"] = text
    if "tools" in response:
        given["tools"] = [tool(payload) for payload in response["tools"]]
    if (voice := ((response.get("audio") or {}).get("output") or {}).get("voice")) is not None:
        given["voice"] = voice
    if own := {key: value for key, value in (response.get("metadata") or {}).items() if key != CORRELATION}:
        given["metadata"] = own
    return given


def chat_item(item: Mapping[str, Any]) -> llm.ChatItem | None:
    """An item that was created, as LiveKit has it; None for kinds that LiveKit has no word for."""
    kind, item_id = item.get("type"), str(item.get("id") or "")
    if kind == "message" and item.get("role") in ("user", "assistant", "system"):
        return llm.ChatMessage(id=item_id, role=item["role"], content=list(_content(item.get("content") or ())))
    if kind == "function_call":
        name, arguments = str(item.get("name")), str(item.get("arguments"))
        return llm.FunctionCall(id=item_id, call_id=str(item.get("call_id")), name=name, arguments=arguments)
    if kind == "function_call_output":
        output = str(item.get("output"))
        return llm.FunctionCallOutput(id=item_id, call_id=str(item.get("call_id")), output=output, is_error=False)
    return None


def _content(parts: Sequence[Mapping[str, Any]]) -> Iterator[llm.ChatContent]:
    for part in parts:
        if part.get("type") == "input_image":
            yield llm.ImageContent(image=str(part.get("image_url")))
        elif isinstance(text := part.get("text") or part.get("transcript"), str):
            yield text


def history(entries: Sequence[Entry]) -> dict[int, llm.ChatItem]:
    """The items that the session had before its first connection, by the numbers of the events that made them there.

    They are appended, before the server has confirmed the configuration; later ones say what they come behind.
    """
    found: dict[int, llm.ChatItem] = {}
    first = min((entry.link for entry in entries if entry.link), default=0)
    for number, entry in enumerate(entries):
        if entry.link != first:
            continue
        if entry.direction == "in" and entry.event["type"] == "session.updated":
            break
        if is_appended(entry) and (item := chat_item(filled(entry.event).get("item") or {})) is not None:
            found[number] = item
    return found


def is_appended(entry: Entry) -> bool:
    """Whether it creates an item behind all others."""
    event = entry.event
    return (
        entry.direction == "out"
        and event["type"] == "conversation.item.create"
        and event.get("previous_item_id") is None
    )


def automatic(entries: Sequence[Entry]) -> set[int]:
    """The numbers of client events that no application asked for: the configuration each connection begins with, and
    what a new one is told of the last one. Others may be the client's own, too; those it sends without being asked."""
    found: set[int] = set(history(entries))
    items: set[str] = set()
    configured: set[int] = set()
    for number, entry in enumerate(entries):
        event = entry.event
        kind = event["type"] if entry.direction == "out" else ""
        if kind == "session.update" and entry.link not in configured:
            configured.add(entry.link)
            found.add(number)
        elif kind == "conversation.item.create" and entry.link > 1 and _item_id(event) in items:
            found.add(number)
        if entry.direction != "note":
            items.add(_item_id(event))
    return found | _sent_again(entries)


def _item_id(event: Mapping[str, Any]) -> str:
    item = event.get("item")
    return str(item.get("id")) if isinstance(item, Mapping) else str(event.get("item_id", ""))


def _sent_again(entries: Sequence[Entry]) -> set[int]:
    """Audio that a connection begins with because it was the end of what the last one had got.

    Silence is like any other silence: where it could be more or less, nothing is said.
    """
    found: set[int] = set()
    before: list[Any] = []
    for link in sorted({entry.link for entry in entries}):
        numbers = [
            n for n, e in enumerate(entries) if e.link == link and e.direction == "out" and e.event["type"] in APPENDS
        ]
        sent = [entries[n].event.get("audio") for n in numbers]
        if len(again := _overlaps(before, sent)) == 1:
            found.update(numbers[: again[0]])
        before = sent or before
    return found


def _overlaps(before: Sequence[Any], after: Sequence[Any]) -> list[int]:
    """Each number of pieces that `before` ends with and `after` begins with, the largest first.

    The borders of `after` + a mark + `before`, as Knuth, Morris and Pratt find them: as many steps as there are pieces.
    """
    most = min(len(before), len(after))
    pieces = [*after[:most], object(), *before[len(before) - most :]]
    borders = [0] * len(pieces)
    for place in range(1, len(pieces)):
        length = borders[place - 1]
        while length and pieces[place] != pieces[length]:
            length = borders[length - 1]
        borders[place] = length + (pieces[place] == pieces[length])
    found = [borders[-1]]
    while found[-1]:
        found.append(borders[found[-1] - 1])
    return found[:-1]


def fallback_models(recording: Recording) -> list[str]:
    """Models that were asked for when another one was refused."""
    first = recording.header.model
    created = (e.event.get("session") for e in recording.entries if e.event.get("type") == "session.created")
    models = [s["model"] for s in created if isinstance(s, Mapping) and isinstance(s.get("model"), str)]
    refused = any(e.event.get("code") in ("invalid_model", "model_not_found") for e in recording.entries)
    return [model for model in dict.fromkeys(models) if model != first] if refused else []
