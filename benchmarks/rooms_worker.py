"""The worker that rooms.py measures. Environment: `PLUGIN` (`openai_ga` or `openai`), `THREADS` (jobs in threads)."""

from __future__ import annotations

import importlib
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobExecutorType, cli
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

plugin = importlib.import_module(f"livekit.plugins.{os.environ['PLUGIN']}")

server = AgentServer(
    load_fnc=lambda: 0.0,  # the calls that are to be measured are all taken
    num_idle_processes=2,
    job_executor_type=JobExecutorType.THREAD if os.environ.get("THREADS") else JobExecutorType.PROCESS,
    host="127.0.0.1",
    port=0,
)


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    model = plugin.realtime.RealtimeModel(turn_detection=ServerVad(type="server_vad"))
    await AgentSession(llm=model).start(Agent(instructions="Be brief."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
