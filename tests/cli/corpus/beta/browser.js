/* WebRTC in the browser: SDP goes straight to the API. */
async function start() {
  const tokenResponse = await fetch('/session');
  const data = await tokenResponse.json();
  const key = data.client_secret.value; // expect: client-secret

  const pc = new RTCPeerConnection();
  const dc = pc.createDataChannel('oai-events');
  dc.addEventListener('message', (e) => {
    const event = JSON.parse(e.data);
    switch (event.type) {
      case 'response.audio_transcript.delta': // expect: server-event
        show(event.delta);
        break;
      case 'response.text.delta': // expect: server-event
        show(event.delta);
        break;
    }
  });
  const offer = await pc.createOffer();
  await pc.setLocalDescription(offer);

  const baseUrl = 'https://api.openai.com/v1/realtime'; // expect: webrtc-endpoint
  const model = 'gpt-4o-realtime-preview-2024-12-17'; // expect: model-gone
  const sdpResponse = await fetch(`${baseUrl}?model=${model}`, {
    method: 'POST',
    body: offer.sdp,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/sdp' },
  });
  await pc.setRemoteDescription({ type: 'answer', sdp: await sdpResponse.text() });
}
