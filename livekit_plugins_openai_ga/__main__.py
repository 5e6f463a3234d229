"""`python -m livekit_plugins_openai_ga`: the same as the command `livekit-openai-ga`; `--help` lists what it can do."""

from __future__ import annotations

from .cli import console

if __name__ == "__main__":
    console(program="python -m livekit_plugins_openai_ga")
