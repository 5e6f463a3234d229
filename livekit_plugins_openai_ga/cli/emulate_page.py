"""What `emulate` shows of what happens: lines for a person, JSON lines for a program, or nothing."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..devtools.display import clean, wrap
from ..emulator.calls import Call
from ..emulator.faults import Fault
from ..emulator.named_faults import ON_PURPOSE
from ..emulator.watching import Happening
from ..redaction import HIDDEN, redact
from .output import Output

_INDENT = 26
_PRIVATE = frozenset({"authorization", "headers"})
"""Fields of a tool that hold what another server must not know."""

Line = tuple[str, str, tuple[str, ...]]
"""A word, what there is to say, and the word's styles."""


class Shown:
    """Told what happens; counts what clients got wrong, and leaves it to others to show it.

    `faults` are those that were asked for, each with the words that somebody asked with.
    """

    def __init__(self, faults: Sequence[tuple[Fault, str]]) -> None:
        self._faults = faults
        self._sessions = 0
        self._wrong = 0

    def serving(self, base_url: str) -> None:
        """Clients can come."""

    def rang(self, call: Call) -> None:
        """A call came in."""

    def show(self, happening: Happening) -> None:
        """One thing happened."""
        self._sessions += happening.what == "connected"
        self._wrong += _is_wrong(happening)

    def end(self) -> int:
        """It is over. Returns the exit code."""
        return int(self._wrong > 0)

    def _words(self, fault: Fault) -> str:
        return next((text for each, text in self._faults if each is fault), type(fault).__name__)


class Quiet(Shown):
    """Shows nothing."""


class JsonLines(Shown):
    """A JSON object on a line for each thing: `at` (unix s), `what`, `session` (0: none), and what belongs to it.

    Audio and images are `{"bytes": n}`; keys are hidden.
    """

    def __init__(self, faults: Sequence[tuple[Fault, str]], output: Output) -> None:
        super().__init__(faults)
        self._output = output

    def serving(self, base_url: str) -> None:
        """Clients can come."""
        self._write("serving", 0, {"base_url": base_url})

    def rang(self, call: Call) -> None:
        """A call came in."""
        self._write("rang", 0, {"id": call.id, "state": call.state, "outcome": call.outcome})

    def show(self, happening: Happening) -> None:
        """One thing happened."""
        super().show(happening)
        what, detail = happening.what, happening.detail
        if what == "fault":
            detail = {"fault": self._words(detail["fault"])}
        elif what in ("received", "sent"):
            detail = {"event": detail}
        self._write(what, happening.session, detail)

    def end(self) -> int:
        """It is over."""
        self._write("over", 0, {"sessions": self._sessions, "refused": self._wrong})
        return super().end()

    def _write(self, what: str, session: int, detail: Mapping[str, Any]) -> None:
        line = {"at": round(time.time(), 3), "what": what, "session": session, **_shortened(detail)}
        self._output.line(json.dumps(line))
        sys.stdout.flush()


class Page(Shown):
    """A line for each thing that a person wants to know; wrapped where it is read in a terminal."""

    def __init__(self, faults: Sequence[tuple[Fault, str]], output: Output) -> None:
        super().__init__(faults)
        self._output = output
        self._began = time.monotonic()
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def serving(self, base_url: str) -> None:
        """Clients can come."""
        self._write(f"Serving the GA Realtime API and POST /audio/transcriptions at {base_url}")
        self._write("It does not understand speech: what is heard and said comes from the script.")
        self._write(f"For agents on this machine to use it: export OPENAI_BASE_URL={base_url}")

    def rang(self, call: Call) -> None:
        """A call came in."""
        self._write(f"The call {call.id} came in and is {call.state} {call.outcome}".rstrip())

    def show(self, happening: Happening) -> None:
        """One thing happened."""
        super().show(happening)
        detail = happening.detail
        if happening.what == "fault":
            self._line(0, "fault", self._words(detail["fault"]), ("yellow",))
        elif happening.what in ("received", "sent"):
            lines = _EVENTS.get(str(detail.get("type")))
            for line in lines(detail) if lines else ():
                self._line(happening.session, *line)
        else:
            self._line(happening.session, *_LINES[happening.what](detail))

    def end(self) -> int:
        """It is over."""
        sessions = f"{self._sessions} session{'s' * (self._sessions != 1)}"
        self._write("")
        if self._wrong:
            self._write(self._output.paint(f"{sessions}; refused {_times(self._wrong)}, see above.", "red", "bold"))
        else:
            self._write(self._output.paint(f"{sessions}; nothing was refused.", "green"))
        return super().end()

    def _line(self, session: int, word: str, text: str, styles: tuple[str, ...] = ()) -> None:
        number = f"#{session}" if session else ""
        text = redact(clean(text))
        rows = [text] if self._width is None else wrap(text, max(self._width - _INDENT, 20))
        at = self._output.paint(f"{time.monotonic() - self._began:8.3f}", "dim")
        self._write(f"{at}  {number:4}{self._output.paint(f'{word:10}', *styles)}  {rows[0] if rows else ''}".rstrip())
        for row in rows[1:]:
            self._write(f"{'':{_INDENT}}{row}")

    def _write(self, text: str) -> None:
        self._output.line(text)
        sys.stdout.flush()


def _is_wrong(happening: Happening) -> bool:
    """Whether a client was refused something, and not on purpose."""
    what, detail = happening.what, happening.detail
    if what == "refused":
        return bool(detail["error"]["message"] != ON_PURPOSE)
    refused = what == "turned_away" or (what == "request" and detail["status"] >= 400)
    return refused and detail["message"] != ON_PURPOSE


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _refused(detail: Mapping[str, Any]) -> Line:
    event, error = detail["event"] or {}, detail["error"]
    name = event.get("type", "a frame")
    return "refused", f"{name}: {error['code']}: {error['message']}", ("red", "bold")


_LINES: Mapping[str, Callable[[Mapping[str, Any]], Line]] = {
    "connected": lambda d: (
        "connected",
        f"{d['type']} session{' with ' + d['model'] if d['model'] else ''}",
        ("green",),
    ),
    "turned_away": lambda d: (
        "turned away",
        ": ".join(str(d[key]) for key in ("path", "code", "message") if d[key]),
        ("red", "bold"),
    ),
    "request": lambda d: (
        "request",
        ": ".join(str(part) for part in (f"{d['method']} {d['path']}", d["status"], d["code"], d["message"]) if part),
        ("red", "bold") if d["status"] >= 400 else (),
    ),
    "refused": _refused,
    "ended": lambda d: ("ended", f"{d['code']} {d['reason']}", ("dim",)),
}


def _configures(event: Mapping[str, Any]) -> list[Line]:
    session = event.get("session")
    names = ", ".join(str(name) for name in session if name != "type") if isinstance(session, dict) else ""
    return [("configures", names, ("cyan",))]


def _gives_item(event: Mapping[str, Any]) -> list[Line]:
    item = event.get("item")
    if not isinstance(item, dict):
        return []
    if item.get("type") == "function_call_output":
        return [("result", str(item.get("output", "")), ("cyan",))]
    content = item.get("content")
    texts = (
        [str(part.get("text", "")) for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    return [("item", " ".join([str(item.get("role") or item.get("type")), *texts]), ("cyan",))]


def _ends_reply(event: Mapping[str, Any]) -> list[Line]:
    response = event["response"]
    lines: list[Line] = []
    for item in response["output"]:
        if item["type"] == "message":
            said = " ".join(part.get("transcript") or part.get("text") or "" for part in item["content"])
            lines.append(("agent", said, ("blue",)))
        elif item["type"] == "function_call":
            lines.append(("tool", f"{item['name']} {item['arguments']}", ("blue",)))
    if response["status"] != "completed":
        why = response["status_details"] or {}
        code = (why.get("error") or {}).get("code") or why.get("reason") or ""
        lines.append(("reply", f"{response['status']} {code}", ("yellow",)))
    return lines


_HEARD = "conversation.item.input_audio_transcription"
_EVENTS: Mapping[str, Callable[[Mapping[str, Any]], list[Line]]] = {
    "session.update": _configures,
    "conversation.item.create": _gives_item,
    "response.cancel": lambda event: [("cancels", str(event.get("response_id", "")), ("cyan",))],
    "conversation.item.truncate": lambda event: [("cuts", f"at {event.get('audio_end_ms')} ms", ("cyan",))],
    f"{_HEARD}.completed": lambda event: [("user", event["transcript"], ("bold",))],
    f"{_HEARD}.failed": lambda event: [("user", event["error"]["code"], ("yellow",))],
    "response.done": _ends_reply,
}


def _shortened(value: Any, name: str = "", event_type: str = "") -> Any:
    """A copy to be shown: without keys, and with the length of sounds and pictures in their place."""
    if isinstance(value, Mapping):
        event_type = str(value.get("type", ""))
        return {
            key: HIDDEN if key in _PRIVATE and each else _shortened(each, key, event_type)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_shortened(each, name, event_type) for each in value]
    if not isinstance(value, str):
        return value
    if name == "audio" or (name == "delta" and event_type.endswith("audio.delta")):
        return {"bytes": len(value) * 3 // 4 - value[-2:].count("=")}
    if name == "image_url" and value.startswith("data:"):
        return {"bytes": len(value.partition(",")[2]) * 3 // 4}
    return redact(value)
