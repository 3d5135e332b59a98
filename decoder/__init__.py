"""Speech codes to samples: flow matching to a log-mel, and a vocoder."""
