import OpenAI from 'openai';
const openai = new OpenAI();
const speech = await openai.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'coral', speed: 1.2, input: 'hi', response_format: 'pcm' });
const text = await openai.audio.transcriptions.create({ model: 'whisper-1', file, temperature: 0 });
const tools = [{ type: 'text', text: 'realtime' }, { role: 'assistant', content: [{ type: 'text', text }] }];
