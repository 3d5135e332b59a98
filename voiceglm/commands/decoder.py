"""``voiceglm decoder``: the decoder. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS: dict[str, tuple[str, str]] = {}  # name: (module with add_arguments() and run(), help)
