"""The only code that touches a socket: one connection (`link`), what leaves on it (`outbox`), when to dial again."""
