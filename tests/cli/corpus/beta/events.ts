// What the realtime socket may say.
export type ServerEvent =
  | { type: 'response.audio.delta'; delta: string } // expect: server-event
  | { type: 'response.audio.done' } // expect: server-event
  | { type: 'transcription_session.created'; session: unknown } // expect: server-event
  | { type: 'response.done'; response: unknown };

export const isAudio = (e: ServerEvent) => e.type.startsWith('response.audio.'); // expect: server-event
