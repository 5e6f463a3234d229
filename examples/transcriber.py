"""Captions for everybody in a room, while they speak: text streams on the topic `lk.transcription`, in their names.

Captions of one segment grow; the last one is final. Start it with: python examples/transcriber.py start
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator

from livekit import rtc
from livekit.agents import AgentServer, APIError, AutoSubscribe, JobContext, cli, stt, types
from livekit.plugins import openai_ga

INTERIM, FINAL = stt.SpeechEventType.INTERIM_TRANSCRIPT, stt.SpeechEventType.FINAL_TRANSCRIPT
server = AgentServer()


async def captions(
    recognizer: stt.STT, frames: AsyncIterator[rtc.AudioFrame]
) -> AsyncGenerator[rtc.TranscriptionSegment, None]:
    """The captions of one speaker; times in ms of the audio. Ends when the audio has ended and all is transcribed."""
    async with recognizer.stream() as stream:

        async def feed() -> None:
            async for frame in frames:
                stream.push_frame(frame)
            stream.end_input()

        feeding = asyncio.create_task(feed())
        shown = set()
        try:
            async for event in stream:
                if event.type not in (INTERIM, FINAL):
                    continue
                best = event.alternatives[0]
                if not best.text and event.request_id not in shown:
                    continue  # nobody spoke, and there is no caption to take away
                shown.add(event.request_id)
                start, end = round(best.start_time * 1000), round(best.end_time * 1000)
                yield rtc.TranscriptionSegment(
                    event.request_id, best.text, start, end, best.language, event.type == FINAL
                )
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def caption_track(
    recognizer: stt.STT, room: rtc.Room, track: rtc.Track, participant: rtc.RemoteParticipant
) -> None:
    audio = rtc.AudioStream(track, sample_rate=24000, num_channels=1)
    try:
        async for caption in captions(recognizer, (event.frame async for event in audio)):
            attributes = {
                types.ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: caption.id,
                types.ATTRIBUTE_TRANSCRIPTION_TRACK_ID: track.sid,
                types.ATTRIBUTE_TRANSCRIPTION_FINAL: str(caption.final).lower(),
            }
            writer = await room.local_participant.stream_text(
                topic=types.TOPIC_TRANSCRIPTION, sender_identity=participant.identity, attributes=attributes
            )
            await writer.write(caption.text)
            await writer.aclose()
    except APIError as error:
        logging.getLogger("transcriber").error("no more captions for %s: %s", participant.sid, error)
    finally:
        await audio.aclose()


@server.rtc_session()
async def caption_room(ctx: JobContext) -> None:
    recognizer = openai_ga.STT(model="gpt-live-transcribe", detect_language=True)
    ctx.add_shutdown_callback(recognizer.aclose)
    tasks = set()

    @ctx.room.on("track_subscribed")
    def listen(track: rtc.Track, publication: rtc.TrackPublication, participant: rtc.RemoteParticipant) -> None:
        task = asyncio.create_task(caption_track(recognizer, ctx.room, track, participant))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)


if __name__ == "__main__":
    cli.run_app(server)
