// GA in the browser. Not https://api.openai.com/v1/realtime/sessions any more.
export async function start() {
  const { value } = await (await fetch('/token')).json();
  const pc = new RTCPeerConnection();
  const dc = pc.createDataChannel('oai-events');
  dc.onmessage = (e) => {
    const event = JSON.parse(e.data);
    switch (event.type) {
      case 'response.output_audio_transcript.delta':
        return show(event.delta);
      case 'conversation.item.added':
        return add(event.item);
    }
  };
  await pc.setLocalDescription(await pc.createOffer());
  const answer = await fetch('https://api.openai.com/v1/realtime/calls', {
    method: 'POST',
    body: pc.localDescription.sdp,
    headers: { Authorization: `Bearer ${value}`, 'Content-Type': 'application/sdp' },
  });
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
}
