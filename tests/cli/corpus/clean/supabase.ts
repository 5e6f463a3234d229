import { createClient } from '@supabase/supabase-js';

const client = createClient(url, key, { realtime: { params: { eventsPerSecond: 10 } } });
interface Room { session: { voice: boolean }; temperature: number }
client.channel('room').on('broadcast', { event: 'conversation.created' }, (e) => {
  const payload = { type: 'room', session: { voice: true }, speed: 2 };
  client.realtime.sessions.push(payload as unknown as Room);
});
