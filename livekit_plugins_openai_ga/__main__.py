"""`python -m livekit_plugins_openai_ga`: the same as the command `livekit-openai-ga`; `--help` lists what it can do."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m livekit_plugins_openai_ga"))
