"""``voiceglm synth``: training data. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS = {  # name: (module with add_arguments() and run(), help)
    "manifest": ("voiceglm.commands.synth_manifest", "list the recordings of a corpus"),
    "check": ("voiceglm.commands.synth_check", "say what is wrong with listed recordings"),
}
