"""``voiceglm synth``: training data. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS = {  # name: (module with add_arguments() and run(), help)
    "world": ("voiceglm.commands.synth_world", "write documents of the nano world"),
    "plan": ("voiceglm.commands.synth_plan", "freeze what a corpus will be made of"),
    "run": ("voiceglm.commands.synth_run", "work a plan off; whatever is killed, run it again"),
    "status": ("voiceglm.commands.synth_status", "say how far a plan has come"),
    "preview": ("voiceglm.commands.synth_preview", "some rows of a corpus, to read and to hear"),
    "manifest": ("voiceglm.commands.synth_manifest", "list the recordings of a corpus"),
    "check": ("voiceglm.commands.synth_check", "say what is wrong with listed recordings"),
}
