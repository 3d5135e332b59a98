"""The tables of ``voiceglm evaluate``: what the papers of the field report, measured on our models.

One module a table, each with ``measure(subject) -> Table``; ``run`` knows them by name.
"""
