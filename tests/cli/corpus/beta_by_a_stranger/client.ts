import { RealtimeClient } from '@openai/realtime-api-beta';  // expect: sdk-package
import type { ItemType } from '@openai/realtime-api-beta/dist/lib/client.js';  // expect: sdk-package

export class Console {
  client = new RealtimeClient({ apiKey: process.env.OPENAI_API_KEY, dangerouslyAllowAPIKeyInBrowser: true });

  async start(): Promise<void> {
    this.client.updateSession({ instructions: 'You are great', voice: 'alloy' });  // expect: session-field
    this.client.updateSession({
      turn_detection: { type: 'none' },  // expect: session-field
      input_audio_transcription: { model: 'whisper-1' },  // expect: model-ending, session-field
    });
    this.client.realtime.send('conversation.item.create', {
      item: { type: 'message', role: 'assistant', content: [{ type: 'audio', transcript: 'hi' }] },  // expect: item-content
    });
    this.client.on('realtime.event', ({ event }: any) => {
      if (event.type === 'response.audio_transcript.delta') console.log(event.delta);  // expect: server-event
    });
    await this.client.connect({ model: 'gpt-4o-realtime-preview' });  // expect: model-gone
  }
}
