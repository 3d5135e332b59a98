"""Live conversation: a voice chat over a socket."""
