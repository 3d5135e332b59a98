"""``voiceglm lm``: the language model. A table like that of ``voiceglm.cli``, and nothing else."""

TASKS: dict[str, tuple[str, str]] = {  # name: (module with add_arguments() and run(), help)
    "grow": ("voiceglm.commands.lm_grow", "start from a text model: add ids of speech to it"),
    "pretrain": ("voiceglm.commands.lm_pretrain", "learn from corpora of text and speech"),
    "sft": ("voiceglm.commands.lm_sft", "learn from dialogues, all weights or by adapters"),
    "merge": ("voiceglm.commands.lm_merge", "add adapters to the model they were made for"),
}
