"""`docs/errors.md`, written from the tables in `failures`: python -m livekit_plugins_openai_ga.devtools.errors_page"""

from __future__ import annotations

from collections.abc import Mapping

from .. import failures
from ..failures import Kind, Row

WHAT_HAPPENS = {
    Kind.BENIGN: "nothing: it is a race that both sides settled",
    Kind.REQUEST_FAILED: "the request fails, the session goes on",
    Kind.REPLY_FAILED: "the reply fails, the session goes on",
    Kind.RECONNECT: "a new connection is opened",
    Kind.FATAL: "the session ends",
}

_INTRO = """# What each error means

An error reaches you as LiveKit's `error` event with an `APIError`, or as the `RealtimeError` a call ends with. Its text
is the code, the server's own message, what it means and what to do. `error.body` is the same as an object with `code`,
`message`, `param`, `meaning` and `remedy`. `recoverable=False` means that the session is over.
"""


def _table(title: str, first: str, rows: Mapping[str, Row]) -> str:
    lines = [f"## {title}", "", f"| {first} | what it means | what to do | what happens |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {row.meaning} | {row.remedy} | {WHAT_HAPPENS[row.kind]} |" for name, row in rows.items()]
    return "\n".join(lines)


def page() -> str:
    """The whole page as Markdown."""
    sections = [
        _INTRO.rstrip(),
        _table("Codes the server names", "code", failures.FAILURES),
        _table("Close codes", "close code", {str(k): row for k, row in failures.CLOSE_CODES.items()}),
        _table(
            "Close codes of a call (`call_id`)", "close code", {str(k): row for k, row in failures.CALL_CLOSES.items()}
        ),
        _table("HTTP statuses of the handshake", "status", {str(k): row for k, row in failures.HTTP_STATUSES.items()}),
        _table(
            "The same into a call (`call_id`)", "status", {str(k): row for k, row in failures.CALL_STATUSES.items()}
        ),
    ]
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    print(page(), end="")
