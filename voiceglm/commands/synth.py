"""``voiceglm synth``: training data. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS = {  # name: (module with add_arguments() and run(), help)
    "world": ("voiceglm.commands.synth_world", "write documents of the nano world"),
    "speak": ("voiceglm.commands.synth_speak", "speak lines of text into packs with a manifest"),
    "plan": ("voiceglm.commands.synth_plan", "freeze what a corpus will be made of"),
    "run": ("voiceglm.commands.synth_run", "work a plan off; whatever is killed, run it again"),
    "status": ("voiceglm.commands.synth_status", "say how far a plan has come"),
    "train-text-to-token": (
        "voiceglm.commands.synth_train_text_to_token",
        "train what writes speech codes for text",
    ),
    "preview": ("voiceglm.commands.synth_preview", "some rows of a corpus, to read and to hear"),
    "dialogues": ("voiceglm.commands.synth_dialogues", "speak written dialogues for fine-tuning"),
    "manifest": ("voiceglm.commands.synth_manifest", "list the recordings of a corpus"),
    "check": ("voiceglm.commands.synth_check", "say what is wrong with listed recordings"),
}
