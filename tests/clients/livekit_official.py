"""LiveKit's own plugin, with an agent and no room: `python livekit_official.py question.wav` (24 kHz, mono, 16 bit)."""

import asyncio
import sys
import wave

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, utils
from livekit.agents.voice import io
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad


class Assistant(Agent):
    """What LiveKit's quickstart has, with a tool."""

    def __init__(self):
        super().__init__(instructions="Be brief.")

    @function_tool
    async def get_weather(self, city: str) -> str:
        """The weather of a city."""
        print("tool: get_weather", city)
        return f"It is sunny in {city}."


class Microphone(io.AudioInput):
    """Sits where a room's microphone would be."""

    def __init__(self):
        super().__init__(label="recording")
        self.frames = asyncio.Queue()

    async def __anext__(self):
        return await self.frames.get()


class Speaker(io.AudioOutput):
    """Sits where a room's loudspeaker would be, and plays in no time."""

    def __init__(self):
        super().__init__(label="nowhere", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24000)
        self.sound = self.played = 0.0

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        self.sound += frame.duration

    def flush(self):
        super().flush()
        self.on_playback_finished(playback_position=self.sound - self.played, interrupted=False)
        self.played = self.sound

    def clear_buffer(self):
        """Nothing waits to be played."""


async def speak(microphone, path):
    with wave.open(path) as sound:
        pcm = sound.readframes(sound.getnframes()) + bytes(48 * 1000)
    for start in range(0, len(pcm), 960):
        chunk = pcm[start : start + 960]
        microphone.frames.put_nowait(rtc.AudioFrame(chunk, 24000, 1, len(chunk) // 2))
        await asyncio.sleep(0.02)


async def main(path):
    model = openai.realtime.RealtimeModel(model="gpt-realtime-2.1", turn_detection=ServerVad(type="server_vad"))
    session = AgentSession(llm=model)
    answers = asyncio.Queue()

    @session.on("user_input_transcribed")
    def on_user(event):
        if event.is_final:
            print("user:", event.transcript)

    @session.on("conversation_item_added")
    def on_item(event):
        if event.item.type == "message" and event.item.role == "assistant":
            print("agent:", event.item.text_content)
            answers.put_nowait(event.item)

    @session.on("error")
    def on_error(event):
        sys.exit(str(event.error))

    microphone, speaker = Microphone(), Speaker()
    session.input.audio, session.output.audio = microphone, speaker
    async with utils.http_context.open():
        await session.start(Assistant())
        await session.generate_reply()
        await answers.get()
        await speak(microphone, path)
        await answers.get()
        await session.aclose()
    print(f"sound: {speaker.sound:.1f} s")


asyncio.run(main(sys.argv[1]))
