"""Training data: a small world of facts and dialogues, spoken by a synthesizer."""
