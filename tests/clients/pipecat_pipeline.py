"""pipecat: `python pipecat_pipeline.py question.wav` (24 kHz, mono, 16 bit)."""

import asyncio
import os
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

URL = os.environ["OPENAI_BASE_URL"].replace("http", "ws", 1) + "/realtime"
SESSION = events.SessionProperties(
    audio=events.AudioConfiguration(
        input=events.AudioInput(
            transcription=events.InputAudioTranscription(model="gpt-transcribe"), turn_detection=events.TurnDetection()
        ),
        output=events.AudioOutput(voice="marin"),
    )
)


async def get_weather(params: FunctionCallParams, city: str):
    """The weather of a city."""
    print("tool:", params.function_name, city)
    await params.result_callback({"weather": "sunny"})


class Listener(FrameProcessor):
    """Sits where a transport's output would be."""

    def __init__(self):
        super().__init__()
        self.sound, self.said, self.replies = 0, "", asyncio.Queue()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.sound += len(frame.audio)
        elif isinstance(frame, TTSTextFrame):
            self.said += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame) and self.said:
            print("agent:", self.said)
            self.said = ""
            self.replies.put_nowait(frame)
        await self.push_frame(frame, direction)


async def speak(worker, path):
    with wave.open(path) as sound:
        pcm = sound.readframes(sound.getnframes()) + bytes(48 * 1000)
    for start in range(0, len(pcm), 960):
        await worker.queue_frame(InputAudioRawFrame(pcm[start : start + 960], 24000, 1))
        await asyncio.sleep(0.02)


async def main(path):
    settings = OpenAIRealtimeLLMService.Settings(
        model="gpt-realtime-2.1", system_instruction="Be brief.", session_properties=SESSION
    )
    llm = OpenAIRealtimeLLMService(api_key=os.environ["OPENAI_API_KEY"], base_url=URL, settings=settings)
    context = LLMContext(tools=[get_weather])
    aggregators = LLMContextAggregatorPair(context)
    listener = Listener()
    worker = PipelineWorker(Pipeline([aggregators.user(), llm, listener, aggregators.assistant()]))
    runner = WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await worker.queue_frame(LLMRunFrame())
    await listener.replies.get()
    await speak(worker, path)
    await listener.replies.get()
    await worker.queue_frame(EndFrame())
    await running
    for message in context.get_messages():
        if message["role"] == "user":
            print("user:", message["content"])
    print(f"sound: {listener.sound / 48000:.1f} s")


asyncio.run(main(sys.argv[1]))
