"""What a recorder costs while it records: 60 sessions in real time, both directions, as in `duplex`.

The same sessions without a recorder, with one, and with one that keeps the audio, in turn in one process; files go to
the machine's folder for temporary ones. What it costs when there is none needs no measuring: a session then serves its
connection itself, and a test says so.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, Row, Subject, Turns, rotated

SESSIONS = 60


async def measure(subject: Subject) -> Turns:
    from benchmarks.calls import Calls
    from livekit_plugins_openai_ga import Recorder

    found = []
    with TemporaryDirectory() as folder:
        recorders = {"off": False, "on": Recorder(folder), "kept": Recorder(folder, audio=True)}
        count, ways = subject.count(SESSIONS), {}
        for number, (name, recorder) in enumerate(recorders.items()):
            ways[name] = await Calls.opened(subject, count, number * count, recorder=recorder)
        for number in range(subject.turns):
            await subject.turn()
            floor = await ways["off"].floor_ms()
            cpu = {name: await ways[name].cpu_ms() - floor for name in rotated(list(ways), number)}
            found.append({**cpu, "times": cpu["on"] / cpu["off"], "times_kept": cpu["kept"] / cpu["off"]})
        for calls in ways.values():
            await calls.aclose()
    return found


CPU = "ms per session and second"

FIGURE = Figure(
    name="recorder",
    title="Recorder, both directions at real time, 60 sessions",
    measure=measure,
    seconds=0.5,
    rounds=7,
    turns=7,
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
