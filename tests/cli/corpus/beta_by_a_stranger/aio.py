import aiohttp
import json


class RealtimeSocket:
    def __init__(self, key, model="gpt-4o-realtime-preview-2025-06-03"):  # expect: model-gone
        self.key = key
        self.model = model
        self.session_config = {}
        self.handlers = {
            "session.created": self.on_session,
            "response.audio.done": self.on_audio_done,  # expect: server-event
            "response.audio_transcript.done": self.on_text,  # expect: server-event
            "response.text.done": self.on_text,  # expect: server-event
            "conversation.item.created": self.on_item,  # expect: server-event
        }

    async def run(self):
        async with aiohttp.ClientSession() as http:
            headers = {"Authorization": "Bearer " + self.key}
            headers["OpenAI-Beta"] = "realtime=v1"  # expect: beta-header
            async with http.ws_connect(
                f"https://api.openai.com/v1/realtime?model={self.model}", headers=headers
            ) as ws:
                self.ws = ws
                await self.configure()
                async for msg in ws:
                    if msg.type == aiohttp.WSMsgType.TEXT:
                        event = json.loads(msg.data)
                        if h := self.handlers.get(event["type"]):
                            await h(event)

    async def configure(self):
        await self.ws.send_json({"type": "session.update", "session": {"instructions": "Speak French."}})  # expect: session-type
        await self.ws.send_json({
            "type": "response.create",
            "response": {"modalities": ["audio", "text"], "voice": "verse", "max_output_tokens": 20},  # expect: response-field, response-field
        })

    async def transcribe(self, http):
        url = "wss://api.openai.com/v1/realtime?intent=transcription"
        async with http.ws_connect(url, headers={"OpenAI-Beta": "realtime=v1"}) as ws:  # expect: beta-header
            await ws.send_json({ 
                "type": "transcription_session.update",  # expect: client-event
                "session": {  # expect: session-type
                    "input_audio_format": "pcm16",  # expect: session-field
                    "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "en"},  # expect: session-field, model-ending
                    "input_audio_noise_reduction": {"type": "near_field"},  # expect: session-field
                    "turn_detection": None,  # expect: session-field
                },
            })
            async for m in ws:
                if json.loads(m.data)["type"] == "transcription_session.updated":  # expect: server-event
                    break
        bad = "wss://api.openai.com/v1/realtime?intent=transcription&model=gpt-4o-transcribe"  # expect: transcription-url
        return bad
