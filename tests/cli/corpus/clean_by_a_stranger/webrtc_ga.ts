const base = 'https://api.openai.com/v1/realtime/calls';
const sdp = await fetch(base, { method: 'POST', body: offer.sdp, headers: { 'Content-Type': 'application/sdp' } });
type Turn = { turn_detection?: string; voice: string };
const t: Turn = { voice: 'x', turn_detection: 'manual' };
ws.on('conversation.item.input_audio_transcription.delta', (e: { delta: string }) => e.delta);
ws.send(JSON.stringify({ type: 'response.create', response: { output_modalities: ['text'], instructions: 'x', conversation: 'none' } }));
ws.send(JSON.stringify({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }] } }));
ws.send(JSON.stringify({ type: 'conversation.item.create', item: { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'a' }] } }));
