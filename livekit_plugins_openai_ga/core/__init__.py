"""What is true of a session. Events come in, effects go out; no asyncio, no clock, no socket, no LiveKit."""
