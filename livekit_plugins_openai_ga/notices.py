"""What is odd and harms nothing: counted, and logged once of its kind."""

from __future__ import annotations

from collections import Counter

from .core import effects as fx
from .counters import Counters
from .log import Log, logger

MAX_TOLD_APART = 200
"""How many different odd events are told apart; their names are the server's to choose, so there may be no end."""


class Notices:
    """Counts what the core noticed in one session, and tells `counters` of it."""

    __slots__ = ("_counters", "_log", "counts")

    def __init__(self, counters: Counters | None = None, log: Log = logger) -> None:
        self.counts: Counter[str] = Counter()
        self._counters = counters
        self._log = log

    def noticed(self, effect: fx.Noticed) -> None:
        """Count it; the first of its name is logged."""
        self.counts[effect.what] += 1
        if self._counters is not None:
            self._counters.noticed(effect.what)
        name = f"{effect.what}: {effect.detail}"
        if name not in self.counts and len(self.counts) >= MAX_TOLD_APART:
            return
        self.counts[name] += 1
        if self.counts[name] == 1:
            level = self._log.debug if effect.what == "benign error" else self._log.warning
            level("OpenAI: %s (further ones are only counted)", name)

    def config_differs(self, effect: fx.ConfigDiffers) -> None:
        """Say, once for each field, that the server accepted the configuration and keeps something else."""
        for path, (asked, kept) in effect.differences.items():
            self.counts[f"differs: {path}"] += 1
            if self.counts[f"differs: {path}"] > 1:
                continue
            private = {"lk.pii.asked": asked, "lk.pii.kept": kept}
            self._log.warning(
                "OpenAI accepted the configuration but keeps another value for session.%s", path, extra=private
            )
