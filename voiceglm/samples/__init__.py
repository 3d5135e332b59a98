"""A model to listen to: conversations with it, and what its decoder does to speech, as pages."""
