import WebSocket from 'ws';

export class Bridge {
  constructor(ws) { this.ws = ws; this.config = { voice: 'sage', input_audio_format: 'g711_ulaw' }; } // expect: session-field, session-field, session-type

  getConfig() {
    return { ...this.config, type: 'realtime', temperature: 0.8 };
  }

  start() {
    this.ws.send(JSON.stringify({ type: 'session.update', session: this.config }));
    this.ws.send(JSON.stringify({
      type: 'response.create',
      response: { modalities: ['audio', 'text'], voice: 'sage', instructions: 'Greet.' }, // expect: response-field, response-field
    }));
  }

  onMessage(raw) {
    const event = JSON.parse(raw);
    const { type } = event;
    if (type === 'conversation.item.created' && event.item.role === 'user') this.turn(event.item); // expect: server-event
    if (["response.audio.delta", "response.audio_transcript.delta"].includes(type)) this.out(event); // expect: server-event, server-event
  }
}
