export async function start(app) {
  const tokenResponse = await fetch('/session');
  const data = await tokenResponse.json();
  const EPHEMERAL_KEY = data.client_secret.value;  // expect: client-secret

  const pc = new RTCPeerConnection();
  const dc = pc.createDataChannel('oai-events');
  dc.addEventListener('message', (e) => {
    const realtimeEvent = JSON.parse(e.data);
    if (realtimeEvent.type === 'response.text.delta') app.show(realtimeEvent.delta);  // expect: server-event
  });
  dc.addEventListener('open', () => {
    dc.send(JSON.stringify({ type: 'session.update', session: { modalities: ['text'], tools: [] } }));  // expect: session-field, session-type
  });
  const offer = await pc.createOffer();
  await pc.setLocalDescription(offer);
  const baseUrl = 'https://api.openai.com/v1/realtime';  // expect: webrtc-endpoint
  const model = 'gpt-4o-realtime-preview-2024-12-17';  // expect: model-gone
  const sdpResponse = await fetch(`${baseUrl}?model=${model}`, {
    method: 'POST',
    body: offer.sdp,
    headers: { Authorization: `Bearer ${EPHEMERAL_KEY}`, 'Content-Type': 'application/sdp' },
  });
  await pc.setRemoteDescription({ type: 'answer', sdp: await sdpResponse.text() });
}

// server side
export async function mint(req, res) {
  const r = await fetch('https://api.openai.com/v1/realtime/sessions', {  // expect: beta-endpoint
    method: 'POST',
    headers: { Authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      model: 'gpt-4o-realtime-preview-2024-12-17',  // expect: model-gone
      voice: 'verse',  // expect: session-field
    }),
  });
  res.send(await r.json());
}

export const browser = (key) =>
  new WebSocket('wss://api.openai.com/v1/realtime?model=gpt-realtime', [  // expect: model-ending
    'realtime',
    `openai-insecure-api-key.${key}`,
    'openai-beta.realtime-v1',  // expect: beta-subprotocol
  ]);
