"""`python -m livekit_plugins_openai_ga.emulator`: the same as the command `livekit-openai-ga emulate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..cli import main as command


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until somebody ends it. Returns the command's exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return command(["emulate", *given], program="python -m livekit_plugins_openai_ga")


if __name__ == "__main__":
    sys.exit(main())
