// A relay from the console's early days. Uses the OpenAI-Beta: realtime=v1 header.
import WebSocket, { WebSocketServer } from 'ws';
import { RealtimeClient } from '@openai/realtime-api-beta'; // expect: sdk-package

const url = 'wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview-2024-10-01'; // expect: model-gone

export function dial(key) {
  return new WebSocket(url, {
    headers: {
      Authorization: `Bearer ${key}`,
      'OpenAI-Beta': 'realtime=v1', // expect: beta-header
    },
  });
}

const client = new RealtimeClient({ apiKey: process.env.OPENAI_API_KEY });
client.updateSession({
  instructions: 'Be brief.',
  voice: 'alloy', // expect: session-field
  turn_detection: { type: 'none' }, // expect: session-field
  input_audio_transcription: { model: 'whisper-1' }, // expect: session-field, model-ending
});
