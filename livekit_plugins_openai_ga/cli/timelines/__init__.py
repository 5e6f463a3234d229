"""What the command `timeline` knows: a recording in, facts out; and the facts as lines, as JSON and as a page."""
