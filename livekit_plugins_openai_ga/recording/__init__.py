"""What a session said and heard, in a file: `recorder` writes it, `scrub` says what is left out, `reader` reads it."""

from .entries import Entry, Header, Recording
from .reader import Unreadable, read
from .recorder import Recorder

__all__ = ["Entry", "Header", "Recorder", "Recording", "Unreadable", "read"]
