import { useEffect, useRef } from 'react';

interface Props { token: string; onText: (text: string) => void }

const SESSION: Record<string, unknown> = { // expect: session-type
  modalities: ['text'], // expect: session-field
  input_audio_format: 'pcm16', // expect: session-field
  max_response_output_tokens: 400, // expect: session-field
  tools: [],
};

export function Realtime({ token, onText }: Props) {
  const socket = useRef<WebSocket | null>(null);
  useEffect(() => {
    const ws = new WebSocket('wss://api.openai.com/v1/realtime?model=gpt-4o-mini-realtime-preview', [ // expect: model-gone
      'realtime',
      `openai-insecure-api-key.${token}`,
      'openai-beta.realtime-v1', // expect: beta-subprotocol
    ]);
    ws.onopen = () => ws.send(JSON.stringify({ type: 'session.update', session: SESSION }));
    ws.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.type === 'response.text.delta') onText(event.delta); // expect: server-event
    };
    socket.current = ws;
    return () => ws.close();
  }, [token]);
  return <p>it's listening</p>;
}
