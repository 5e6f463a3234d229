import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/beta/realtime/ws'; // expect: sdk-beta
import type { Session } from 'openai/resources/beta/realtime/realtime'; // expect: sdk-types

const client = new OpenAI();

export async function secret(): Promise<string> {
  const session = await client.beta.realtime.sessions.create({ // expect: sdk-beta
    model: 'gpt-4o-realtime-preview', // expect: model-gone
    modalities: ['audio', 'text'], // expect: session-field
  });
  return session.client_secret.value; // expect: client-secret
}

const rt = new OpenAIRealtimeWS({ model: 'gpt-4o-realtime-preview-2025-06-03' }); // expect: model-gone
rt.on('response.text.delta', (event) => process.stdout.write(event.delta)); // expect: server-event
rt.socket.on('open', () => {
  rt.send({ type: 'session.update', session: { modalities: ['text'], model: 'gpt-4o-realtime-preview' } }); // expect: session-type, session-field, model-gone
});
