"""The worker that test_worker.py and test_scale_out.py run: it takes a set number of calls and says who it is.

Environment: `WORKER` (its name, an attribute of its agents), `CALLS` (how many at once), `METRICS` (it opens
a Prometheus endpoint on any port).
"""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli, room_io
from livekit.plugins import openai_ga

CALLS = int(os.environ["CALLS"])

server = AgentServer(
    # By calls instead of by CPU, which a test machine may have lent to others.
    load_fnc=lambda server: len(server.active_jobs) / CALLS,
    load_threshold=0.99,
    num_idle_processes=2,
    host="127.0.0.1",
    port=0,
    prometheus_port=0 if "METRICS" in os.environ else None,
)


async def accept(request: JobRequest) -> None:
    await request.accept(attributes={"worker": os.environ["WORKER"]})


@server.rtc_session(on_request=accept)
async def talk(ctx: JobContext) -> None:
    session = AgentSession(llm=openai_ga.RealtimeModel())
    # Else the job stays until LiveKit gives the empty room up.
    options = room_io.RoomOptions(delete_room_on_close=True)
    await session.start(Agent(instructions="Be brief."), room=ctx.room, room_options=options)
    session.generate_reply()


if __name__ == "__main__":
    cli.run_app(server)
