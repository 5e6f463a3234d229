"""What a recorder costs while it records: 60 sessions in real time, both directions, as in `duplex`.

The same sessions without a recorder, with one, and with one that keeps the audio, in turn in one process; files go to
the machine's folder for temporary ones. What it costs when there is none needs no measuring: a session then serves its
connection itself, and a test says so.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, Row, Subject
from benchmarks.figures.duplex import in_both_directions

SESSIONS = 60


async def measure(subject: Subject) -> dict[str, float]:
    from livekit_plugins_openai_ga import Recorder

    sessions = subject.count(SESSIONS)
    found: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        ways = {"off": False, "on": Recorder(folder), "kept": Recorder(folder, audio=True)}
        for name, recorder in ways.items():
            await subject.server.reset()
            found[name] = await in_both_directions(subject, sessions, recorder=recorder)
    return {**found, "times": found["on"] / found["off"], "times_kept": found["kept"] / found["off"]}


CPU = "ms per session and second"

FIGURE = Figure(
    name="recorder",
    title="Recorder, both directions at real time, 60 sessions",
    measure=measure,
    seconds=3.0,
    rounds=5,
    plugins=("ours",),
    fresh=False,
    rows=(
        Row("no recorder: CPU", "off", CPU),
        Row("recording: CPU", "on", CPU),
        Row("recording, with audio: CPU", "kept", CPU),
        Row("recording, in times of none", "times", "x"),
        Row("recording with audio, in times of none", "times_kept", "x"),
    ),
)
