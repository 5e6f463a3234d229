"""What a session said and heard, in a file: `recorder` writes it, `scrub` says what is left out, `reader` reads it."""
