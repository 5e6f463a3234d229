import { RealtimeAgent, RealtimeSession } from '@openai/agents/realtime';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';

const agent = new RealtimeAgent({ name: 'Desk', voice: 'marin', instructions: 'Help.' });
const session = new RealtimeSession(agent, {
  model: 'gpt-realtime-2.1',
  config: { inputAudioFormat: 'pcm16', turnDetection: { type: 'semantic_vad' } },
});
const rt = new OpenAIRealtimeWebSocket({ model: 'gpt-realtime-2.1' });
rt.on('response.output_text.delta', (event) => console.log(event.delta));
rt.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } });
const wrong = /OpenAI-Beta: realtime=v1/.test(`${session}`) ? "the header 'OpenAI-Beta' is gone" : '';
