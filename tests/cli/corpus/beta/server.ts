import express, { Request, Response } from 'express';

const app = express();

app.get('/session', async (_req: Request, res: Response) => {
  const r = await fetch('https://api.openai.com/v1/realtime/sessions', { // expect: beta-endpoint
    method: 'POST',
    headers: { Authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      model: 'gpt-4o-realtime-preview-2024-12-17', // expect: model-gone
      voice: 'verse', // expect: session-field
      turn_detection: { type: 'semantic_vad' }, // expect: session-field
    }),
  });
  res.send(await r.json());
});
