"""``voiceglm decoder``: the decoder. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS = {  # name: (module with add_arguments() and run(), help)
    "train-flow": ("voiceglm.commands.decoder_train_flow", "train the flow: codes to mel"),
    "train-vocoder": ("voiceglm.commands.decoder_train_vocoder", "train the vocoder: mel to sound"),
    "join": ("voiceglm.commands.decoder_join", "make a decoder of a flow and a vocoder"),
    "evaluate": ("voiceglm.commands.decoder_evaluate", "measure how speech survives its codes"),
}
