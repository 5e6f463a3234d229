const WebSocket = require('ws');
const fs = require('fs');

const VOICE = 'alloy';
const openAiWs = new WebSocket('wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview-2024-12-17', {  // expect: model-gone
  headers: {
    Authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
    'OpenAI-Beta': 'realtime=v1',  // expect: beta-header
  },
});

const initializeSession = () => {
  const sessionUpdate = {
    type: 'session.update',
    session: {  // expect: session-type
      turn_detection: { type: 'server_vad' },  // expect: session-field
      input_audio_format: 'g711_ulaw',  // expect: session-field
      output_audio_format: 'g711_ulaw',  // expect: session-field
      voice: VOICE,  // expect: session-field
      instructions: 'You are a bubbly assistant',
      modalities: ['text', 'audio'],  // expect: session-field
      temperature: 0.8,  // expect: session-field
    },
  };
  openAiWs.send(JSON.stringify(sessionUpdate));
};

openAiWs.on('open', () => setTimeout(initializeSession, 100));
openAiWs.on('message', (data) => {
  const response = JSON.parse(data);
  switch (response.type) {
    case 'response.audio.delta':  // expect: server-event
      fs.appendFileSync('out.pcm', Buffer.from(response.delta, 'base64'));
      break;
    case `response.audio_transcript.done`:  // expect: server-event
      console.log(response.transcript);
      break;
  }
  if (response.type === 'conversation.item.created') console.log(response.item);  // expect: server-event
});
