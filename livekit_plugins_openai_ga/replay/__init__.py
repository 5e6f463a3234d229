"""A recorded session again: `Replay` is its server, for your own client; `rerun` plays both sides and compares."""

from .rerun import Run, rerun
from .server import Replay
from .tape import Difference

__all__ = ["Difference", "Replay", "Run", "rerun"]
