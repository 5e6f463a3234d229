import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/beta/realtime/websocket';  // expect: sdk-beta
import { OpenAIRealtimeWS } from 'openai/beta/realtime/ws';  // expect: sdk-beta
import type { RealtimeServerEvent, SessionUpdateEvent } from 'openai/resources/beta/realtime/realtime';  // expect: sdk-types

const openai = new OpenAI();
const rt = new OpenAIRealtimeWS({ model: 'gpt-4o-realtime-preview-2024-12-17' });  // expect: model-gone

rt.socket.on('open', () => {
  rt.send({
    type: 'session.update',
    session: {  // expect: session-type
      modalities: ['text'],  // expect: session-field
      model: 'gpt-4o-realtime-preview',  // expect: model-gone
    },
  });
  rt.send({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Say a couple paragraphs!' }] },
  });
  rt.send({ type: 'response.create' });
});
rt.on('response.text.delta', (event) => process.stdout.write(event.delta));  // expect: server-event
rt.on('response.text.done', () => console.log());  // expect: server-event
rt.on('response.audio.delta', (e) => play(e));  // expect: server-event
rt.on('conversation.item.input_audio_transcription.completed', (e) => console.log(e.transcript));

async function secret() {
  const session = await openai.beta.realtime.sessions.create({  // expect: sdk-beta
    model: 'gpt-4o-realtime-preview',  // expect: model-gone
    input_audio_format: 'pcm16',  // expect: session-field
  });
  return session.client_secret.value;  // expect: client-secret
}
function play(e: RealtimeServerEvent) {}
export { secret, OpenAIRealtimeWebSocket };
