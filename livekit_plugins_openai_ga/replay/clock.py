"""An event loop on which an hour takes seconds: while nobody has anything to do, its time jumps to the next timer.

Sockets are real, so both ends have to live on the same loop: then a frame that was sent can be read at once, and a loop
without anything to read is one on which everybody waits for a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_GRACE_S = 0.002
"""What is on its way through the kernel, or in a thread, may take so long in real time before a long jump."""

_LONG_JUMP_S = 0.05

_one_at_a_time = threading.RLock()
"""The clocks are those of the whole process."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready if ready or timeout is not None else super().select(None)
        if timeout >= _LONG_JUMP_S and (ready := super().select(_GRACE_S)):
            return ready
        self.skipped_s += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop with such a clock."""

    def __init__(self) -> None:
        self._jumps = _JumpingSelector()
        self._begun = time.monotonic()
        super().__init__(self._jumps)

    def time(self) -> float:
        """Seconds since any moment: those that were skipped. What the machine takes does not count."""
        return self._begun + self._jumps.skipped_s


def run(main: Coroutine[Any, Any, T], *, real_time: bool = False) -> T:
    """Run to the end on a loop of its own, and return the result. Needs a thread without a running loop.

    But for `real_time`, the clocks of the `time` module show the loop's time to this thread meanwhile, and only one
    such loop runs in a process: a second one waits.
    """
    loop = asyncio.new_event_loop() if real_time else JumpingLoop()
    with contextlib.nullcontext() if real_time else _clocks_of(loop):
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(main)
        finally:
            try:
                tasks = asyncio.all_tasks(loop)
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                asyncio.set_event_loop(None)
                loop.close()


@contextlib.contextmanager
def _clocks_of(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let every clock show the loop's time: whoever measures the seconds between two events must see those of it,
    LiveKit and the websockets library, too.

    Other threads see the clocks as they are; one that wants a loop of its own waits until this one is over.
    """
    with _one_at_a_time:
        kept = {name: getattr(time, name) for name in ("time", "monotonic", "perf_counter")}
        begun = loop.time()
        wall = time.time()
        shown = {"time": lambda: wall + loop.time() - begun, "monotonic": loop.time, "perf_counter": loop.time}
        try:
            for name, clock in shown.items():
                setattr(time, name, _in_this_thread(clock, kept[name]))
            yield
        finally:
            for name, clock in kept.items():
                setattr(time, name, clock)


def _in_this_thread(clock: Callable[[], float], elsewhere: Callable[[], float]) -> Callable[[], float]:
    here = threading.get_ident()
    return lambda: clock() if threading.get_ident() == here else elsewhere()
