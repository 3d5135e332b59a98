"""``voiceglm voice``: voices. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS = {  # name: (module with add_arguments() and run(), help)
    "add": ("voiceglm.commands.voice_add", "make a voice out of recordings"),
    "list": ("voiceglm.commands.voice_list", "list the voices that a model can speak with"),
    "train": ("voiceglm.commands.voice_train", "train what hears who speaks"),
}
