// Realtime checkout with Stripe: its client_secret is a plain string.
const { client_secret } = await (await fetch('/pay')).json();
const result = await stripe.confirmCardPayment(client_secret, { payment_method: { card } });
document.querySelector('#s').value = intent.client_secret;
const session = { voice: 'none', temperature: 1 };
channel.emit('session.updated', { session });
