"""Tools a developer runs beside a call: play a recording in, record it, print who spoke when."""
