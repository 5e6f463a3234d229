"""A hotel's concierge with tools: one that answers, one that refuses, one that takes a while, one that ends the call.

Start it with: python examples/tools.py dev
"""

import asyncio
from typing import Literal

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, RunContext, ToolError, cli, function_tool
from livekit.agents.beta.tools import EndCallTool
from livekit.plugins import openai_ga

HOURS = {"breakfast": "7 to 10", "pool": "9 to 21"}


class Concierge(Agent):
    def __init__(self) -> None:
        super().__init__(
            instructions="You are the concierge of a small hotel. Be brief. End the call when the guest says goodbye.",
            tools=[EndCallTool()],
        )

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Ask what you can do for the guest.")

    @function_tool
    async def opening_hours(self, place: Literal["breakfast", "pool"]) -> str:
        """When a place in the hotel is open. The model cannot ask for another place: the type says which there are."""
        return f"From {HOURS[place]}."

    @function_tool
    async def wake_up_call(self, hour: int) -> str:
        """Book a wake-up call for tomorrow.

        Args:
            hour: From 0 to 23.
        """
        if not 5 <= hour <= 10:
            # The model reads this sentence. Of any other exception it learns only that there was one.
            raise ToolError("Wake-up calls are made from 5 to 10 only. Ask for another hour.")
        return f"Booked for {hour}."

    @function_tool
    async def order_taxi(self, context: RunContext, destination: str) -> str:
        """Order a taxi to the front door."""
        # The model tells the guest so, and talks on. What is returned at the end is told when nobody speaks.
        await context.update("The taxi company is being called.")
        await asyncio.sleep(5)
        return f"A taxi to {destination} comes in ten minutes."


server = AgentServer()


@server.rtc_session()
async def answer_the_phone(ctx: JobContext) -> None:
    session = AgentSession(llm=openai_ga.RealtimeModel(voice="cedar"))
    await session.start(agent=Concierge(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
