"""How a command ends: with its own exit code, whatever LiveKit's native threads are doing then."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def end(code: int) -> NoReturn:
    """End this process with `code`, after what is registered for its end, but without taking the interpreter down.

    `sys.exit` does that too, and meanwhile LiveKit's native library may be telling Python a line of its log. Before
    Python 3.14 a thread that wants the GIL then is ended where it stands, and Rust takes that for a panic: the process
    dies of SIGABRT (`panic in a function that cannot unwind`), as one transcription in some hundreds did;
    https://github.com/moq-dev/moq/pull/3766 has the same in another library. `multiprocessing` ends its children so.
    """
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: the caller has closed it
        # What cannot be written now was told when it was written, or its reader has left.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
