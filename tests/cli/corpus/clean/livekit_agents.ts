import { voice } from '@livekit/agents';
import * as openai from '@livekit/agents-plugin-openai';

export const session = new voice.AgentSession({
  llm: new openai.realtime.RealtimeModel({
    model: 'gpt-realtime-2.1',
    voice: 'marin',
    modalities: ['audio'],
    temperature: 0.8,
    turn_detection: null,
  }),
});
