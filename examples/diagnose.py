"""An agent that writes down what happens to its connection: which session, what failed, how much is left of the limits.

Start it with: python examples/diagnose.py dev
"""

import dataclasses
import json
import logging

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, llm
from livekit.plugins import openai_ga

log = logging.getLogger("diagnose")
server = AgentServer()


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a friendly voice assistant. Be brief.")

    async def on_enter(self) -> None:
        session = self.realtime_llm_session
        log.info("session %s", session.info.session_id)
        session.on("session_created", lambda created: log.info("now session %s", created.session_id))
        session.on("rate_limits_updated", self.limited)
        session.on("response_incomplete", lambda cut: log.warning("a reply was cut off: %s", cut.reason))
        session.on("error", self.failed)
        self.session.generate_reply(instructions="Greet the caller.")

    def failed(self, event: llm.RealtimeModelError) -> None:
        info = dataclasses.asdict(self.realtime_llm_session.info)
        log.error("%s: %s", event.error.body.code, json.dumps(info, default=str))

    def limited(self, event: openai_ga.realtime.RateLimitsUpdated) -> None:
        for limit in event.limits:
            log.info(
                "%s of %s %s left, all again in %s s", limit.remaining, limit.limit, limit.name, limit.reset_seconds
            )


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    session = AgentSession(llm=openai_ga.RealtimeModel())
    await session.start(agent=Assistant(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
