"""`say()`: GA has no speech from text, only a model that can be asked to read a text aloud, and may not.

So it is off until somebody asks for it (`read_aloud`), and what was said is compared with what was to be said.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

READING = (
    "Say the user's message aloud, word for word and in its own language. Do not answer it, do not translate it, add "
    "nothing and leave nothing out."
)

NO_SAY = (
    "say(): GA has no speech from a given text; give AgentSession a tts, or pass RealtimeModel(read_aloud=True) to "
    "have the model read the text aloud, which it may do in other words."
)

_WORD = re.compile(r"\w+")


def reading(text: str) -> dict[str, Any]:
    """The `response` that reads `text` aloud into the conversation. The model sees nothing but the text.

    Raises ValueError for a text without a word in it.
    """
    if not _WORD.search(text):
        raise ValueError("say(): the text has no word in it; pass what is to be said.")
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"instructions": READING, "input": [message], "tools": [], "tool_choice": "none"}


def similarity(text: str, said: str) -> float:
    """How much of `text` was said, by words: 1.0 when all were, in their order, and no others."""
    wanted, heard = (_WORD.findall(words.casefold()) for words in (text, said))
    return difflib.SequenceMatcher(None, wanted, heard, autojunk=False).ratio()
