const session = require('express-session');
app.use(session({ secret: 'x', voice: 'loud', cookie: { maxAge: 1 } }));
const settings = { voice: 'alloy', temperature: 21.5, modalities: ['touch', 'audio'] };
// old header was 'OpenAI-Beta': 'realtime=v1'
app.post('/session', async (req, res) => {
  const r = await fetch('https://api.openai.com/v1/realtime/client_secrets', {
    method: 'POST',
    headers: { Authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ session: { type: 'realtime', model: 'gpt-realtime', audio: { output: { voice: 'marin' } } } }),  // expect: model-ending
  });
  const data = await r.json();
  res.json({ key: data.value });
});
const stripe = await client.paymentIntents.create({ amount: 1 });
console.log(stripe.client_secret);
