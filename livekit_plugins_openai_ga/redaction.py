"""Takes keys out of text before anybody can log it.

OpenAI quotes a part of a wrong key in its error message, and gateways quote whole headers and URLs. Whatever a server
says goes through `redact` before it becomes part of a failure.
"""

from __future__ import annotations

import re

_SECRETS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # The server quotes part of a wrong key, whatever that key looked like.
        (r"(api[-_ ]key(?: provided)?\s*[:=]\s*)[^\s'\"&]*[^\s'\"&.,]", r"\1[redacted]"),
        # "Missing bearer or basic authentication" is not a key: one has a digit or is long.
        (r"\b(bearer\s+)(?:(?=\S*[\d_*])\S{8,}|\S{24,})", r"\1[redacted]"),
        (
            r"(?<![a-z0-9])(?:sk-|ek_|openai-insecure-api-key\.)[^\s'\"<>(){},;]*[^\s'\"<>(){},;.:!?]",
            "[redacted]",
        ),
        (r"\beyJ[\w-]+\.[\w.-]+", "[redacted]"),
        (r"([?&](?:access_|auth_)?(?:token|key|sig)=)[^\s'\"&]+", r"\1[redacted]"),
    )
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like a key replaced by `[redacted]`."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
