"""What is true of the conversation. Events come in, effects go out; no asyncio, no clock, no socket, no LiveKit."""
