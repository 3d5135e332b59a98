"""Speech to ids: a Whisper encoder with a vector quantizer in the middle, 12.5 ids per second."""
