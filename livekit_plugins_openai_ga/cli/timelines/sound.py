"""How loud audio is: what is left of it for a drawing, and for finding the end of a word.

A level is the loudest sample of 10 ms, 0 to 255 for full scale. An hour of speech has 360,000.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats import PCM, find
from ...wire import codec

STEP_MS = 10
Levels = NDArray[np.uint8]

# Of full scale, and of the loudest in the same stretch: what is less is the room, not the voice.
_QUIET = 0.02
_QUIET_SHARE = 0.12


def levels(audio: object, form: str) -> Levels | None:
    """The levels of base64 audio of this type (`audio/pcm`, `audio/pcmu`, `audio/pcma`); None when it was not kept."""
    if not isinstance(audio, str):
        return None
    try:
        encoded = codec.b64decode(audio)
    except ValueError:
        return None
    kind = find(form) or PCM
    samples = np.abs(np.frombuffer(kind.decode(bytes(encoded)), "<i2").astype(np.int32))
    step = kind.rate * STEP_MS // 1000
    whole = -(-len(samples) // step) * step
    peaks = np.pad(samples, (0, whole - len(samples))).reshape(-1, step).max(axis=1)
    heard: Levels = (np.minimum(peaks, 32767) >> 7).astype(np.uint8)
    return heard


def last_loud(heard: Levels) -> int | None:
    """The place behind the last level that is a voice; None when there is none."""
    if not len(heard):
        return None
    limit = max(_QUIET * 255, _QUIET_SHARE * int(heard.max()))
    loud = np.flatnonzero(heard > limit)
    return int(loud[-1]) + 1 if len(loud) else None
