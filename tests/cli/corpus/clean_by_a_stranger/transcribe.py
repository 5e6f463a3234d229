import json


async def go(ws_connect):
    async with ws_connect("wss://api.openai.com/v1/realtime?intent=transcription") as ws:
        await ws.send(json.dumps({
            "type": "session.update",
            "session": {
                "type": "transcription",
                "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000},
                                    "transcription": {"model": "gpt-4o-transcribe"},  # expect: model-ending
                                    "turn_detection": {"type": "server_vad"}, "noise_reduction": {"type": "near_field"}}},
                "include": ["item.input_audio_transcription.logprobs"],
            },
        }))


class Session:
    def update(self, session):
        self.voice = session["voice"]


Session().update(session={"voice": "baritone", "temperature": 37.2})
