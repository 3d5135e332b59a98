"""What is said, and by whom, to train and to test the nano models.

A user's line is spoken by a voice drawn at random; the assistant always speaks with one voice. The
``test`` side of everything uses held-out voices, held-out wordings and sentences of its own.
"""

import random

from data_synth.speak import Line
from data_synth.tts import ASSISTANT, Voice, held_out_voices, random_voice, training_voices
from data_synth.world import Split, sample_exchange, sample_sentence


def user_voice(rng: random.Random, split: Split) -> Voice:
    """Draw a user's voice: any accent, rate, pitch and liveliness."""
    names = training_voices() if split == "train" else held_out_voices()
    return random_voice(rng, names)


def question(rng: random.Random, split: Split) -> Line:
    """Draw a user's question; the right answer, skill and wording are kept beside it."""
    exchange = sample_exchange(rng, split)
    extra = {"answer": exchange.answer, "skill": exchange.skill, "wording": exchange.wording}
    return Line(exchange.question, user_voice(rng, split), extra)


def reading(rng: random.Random, split: Split) -> Line:
    """Draw something a user reads aloud: an answer or a plain sentence."""
    if rng.random() < 0.4:
        text = sample_exchange(rng, split).answer
    else:
        text = " ".join(sample_sentence(rng) for _ in range(rng.choice((1, 1, 2))))
    return Line(text, user_voice(rng, split))


def reply(rng: random.Random) -> Line:
    """Draw something the assistant says: an answer, a sentence, now and then both."""
    answer = sample_exchange(rng, "train").answer
    sentence = sample_sentence(rng)
    text = rng.choices((answer, sentence, f"{answer} {sentence}"), weights=(6, 3, 1))[0]
    return Line(text, ASSISTANT)
