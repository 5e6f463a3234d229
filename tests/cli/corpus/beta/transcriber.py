import json

import websocket

MODEL = "gpt-4o-transcribe"
URL = f"wss://api.openai.com/v1/realtime?intent=transcription&model={MODEL}"  # expect: transcription-url


def on_open(ws):
    ws.send(json.dumps({
        "type": "transcription_session.update",  # expect: client-event
        "session": {  # expect: session-type
            "input_audio_format": "pcm16",  # expect: session-field
            "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "en"},  # expect: session-field, model-ending
            "input_audio_noise_reduction": {"type": "near_field"},  # expect: session-field
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},  # expect: session-field
        },
    }))


def on_message(ws, message):
    data = json.loads(message)
    match data["type"]:
        case "transcription_session.updated":  # expect: server-event
            print("ready")
        case "conversation.item.input_audio_transcription.completed":
            print(data["transcript"])


app = websocket.WebSocketApp(URL, header=["Authorization: Bearer x", "OpenAI-Beta: realtime=v1"], on_open=on_open, on_message=on_message)  # expect: beta-header
app.run_forever()
