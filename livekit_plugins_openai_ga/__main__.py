"""`python -m livekit_plugins_openai_ga`: the package's commands; `--help` lists them."""

from __future__ import annotations

import sys

from .devtools.cli import main

if __name__ == "__main__":
    sys.exit(main())
