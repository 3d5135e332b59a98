"""``voiceglm tokenizer``: what hears. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS: dict[str, tuple[str, str]] = {  # name: (module with add_arguments() and run(), help)
    "train": ("voiceglm.commands.tokenizer_train", "train a tokenizer on recordings with text"),
    "evaluate": ("voiceglm.commands.tokenizer_evaluate", "measure what a tokenizer keeps"),
}
