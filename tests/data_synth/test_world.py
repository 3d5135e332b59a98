"""The nano world: every answer is right, and what evaluation asks was never heard in training.

The answers are worked out again here, from the question's words alone.
"""

import random
import re
from collections.abc import Callable

import pytest

from data_synth import corpus
from data_synth.tts import held_out_voices, training_voices
from data_synth.world import (
    SKILLS,
    Exchange,
    facts,
    is_held_out,
    sample_exchange,
    sample_sentence,
    wording_phrases,
    wordings,
)

COUNT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
VALUE = {word: number for number, word in enumerate(COUNT.split())}
WORD = {number: word for word, number in VALUE.items()}
WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DRAWS = 500


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def numbers(text: str) -> list[int]:
    return [VALUE[word] for word in words(text) if word in VALUE]


def arithmetic(question: str) -> str:
    match = re.search(r"(\w+) (plus|minus|times) (\w+)", question)
    assert match
    a, operator, b = match[1].lower(), match[2], match[3]
    x, y = VALUE[a], VALUE[b]
    result = {"plus": x + y, "minus": x - y, "times": x * y}[operator]
    assert 0 <= result <= 20
    return f"{a.capitalize()} {operator} {b} is {WORD[result]}."


def comparison(question: str) -> str:
    high, low = sorted(numbers(question), reverse=True)
    assert high > low
    return f"{WORD[high].capitalize()} is bigger than {WORD[low]}."


def counting(question: str) -> str:
    first, last = numbers(question)
    assert first < last <= 20
    return ", ".join(WORD[n] for n in range(first, last + 1)).capitalize() + "."


def spelling(question: str) -> str:
    asked = [word for word in words(question) if word in facts()["spelled"].split()]
    # "spell the word house": the word asked for is the one no wording has, or the last.
    word = asked[-1]
    return f"{word.capitalize()} is spelled {', '.join(word).upper()}."


def capitals(question: str) -> str:
    (country,) = (name for name in facts()["capitals"] if re.search(rf"\b{name}\b", question))
    return f"The capital of {country} is {facts()['capitals'][country]}."


def countries(question: str) -> str:
    found = [(c, n) for n, c in facts()["capitals"].items() if re.search(rf"\b{c}\b", question)]
    ((city, country),) = found
    return f"{city} is the capital of {country}."


def opposites(question: str) -> str:
    pairs = facts()["opposites"]
    other = dict(pairs) | {b: a for a, b in pairs}
    word = [word for word in words(question) if word in other][-1]
    return f"The opposite of {word} is {other[word]}."


def colours(question: str) -> str:
    said = question.lower().replace("what's", "what is")
    things = [thing for thing in facts()["colours"] if re.search(rf"\b{thing}\b", said)]
    thing = max(things, key=len)
    return f"{thing[0].upper()}{thing[1:]} is {facts()['colours'][thing]}."


def days(question: str) -> str:
    (day,) = (day for day in WEEK if day in question)
    following = (WEEK * 2)[WEEK.index(day) + 1]
    return f"{following} comes after {day}."


def repeat(question: str) -> str:
    phrase = re.sub(r", please\?$|\?$", "", question.split(": ", 1)[1])
    return f"{phrase[0].upper()}{phrase[1:]}."


def greeting(question: str) -> str:
    said = words(question)
    if said[0] == "good":
        part = said[1]
        end = "Sleep well." if part == "night" else "How can I help you?"
        return f"Good {part}! {end}"
    replies = {
        ("goodbye", "bye", "see"): "Goodbye! See you soon.",
        ("thank", "thanks"): "You are welcome!",
        ("how",): "I am fine, thank you.",
        ("nice",): "Nice to meet you too!",
        ("hello", "hi", "hey"): "Hello! How can I help you?",
    }
    (reply,) = (reply for starts, reply in replies.items() if said[0] in starts)
    return reply


def identity(question: str) -> str:
    cores = {
        "who are you": "I am nano, a small voice assistant.",
        "what is your name": "I am nano, a small voice assistant.",
        "what are you called": "I am nano, a small voice assistant.",
        "who made you": "I was made by the voice G L M project.",
        "who built you": "I was made by the voice G L M project.",
        "are you a robot": "I am a computer program that can talk.",
        "are you a human": "I am a computer program that can talk.",
        "are you a person": "I am a computer program that can talk.",
        "what can you do": "I can count, spell, add numbers and name capitals.",
        "what can you help me with": "I can count, spell, add numbers and name capitals.",
        "how old are you": "I am very young.",
        "where do you live": "I live in your computer.",
    }
    (reply,) = (reply for core, reply in cores.items() if core in question.lower())
    return reply


ANSWER: dict[str, Callable[[str], str]] = {
    "greeting": greeting,
    "identity": identity,
    "arithmetic": arithmetic,
    "capitals": capitals,
    "countries": countries,
    "opposites": opposites,
    "counting": counting,
    "spelling": spelling,
    "colours": colours,
    "days": days,
    "comparison": comparison,
    "repeat": repeat,
}


def draws(skill: str) -> list[Exchange]:
    rng = random.Random(skill)
    return [sample_exchange(rng, "train" if n % 2 else "test", skill) for n in range(DRAWS)]


def test_every_skill_is_checked() -> None:
    assert len(SKILLS) >= 8
    assert SKILLS.keys() == ANSWER.keys()


@pytest.mark.parametrize("skill", SKILLS)
def test_answers_are_right(skill: str) -> None:
    for exchange in draws(skill):
        assert exchange.answer == ANSWER[skill](exchange.question), exchange
        assert exchange.skill == skill


@pytest.mark.parametrize("skill", SKILLS)
def test_questions_can_be_spoken(skill: str) -> None:
    for exchange in draws(skill):
        for text in (exchange.question, exchange.answer):
            assert not re.search(r"[\d{}]", text), text
            assert text[0].isupper(), text
            assert text[-1] in ".?!", text
            assert text.isascii(), text
            assert "  " not in text


def test_one_question_has_one_answer() -> None:
    answers: dict[str, str] = {}
    for skill in SKILLS:
        for exchange in draws(skill):
            key = " ".join(words(exchange.question))
            assert answers.setdefault(key, exchange.answer) == exchange.answer, key


@pytest.mark.parametrize("skill", SKILLS)
def test_held_out_wordings_are_never_trained_on(skill: str) -> None:
    """Compared as they sound: without punctuation."""
    train, test = (
        {" ".join(words(wording)) for wording in wordings(skill, side)}
        for side in ("train", "test")
    )
    assert train
    assert test
    assert not train & test
    for exchange in draws(skill)[::2]:
        assert is_held_out(exchange.wording)
    for exchange in draws(skill)[1::2]:
        assert not is_held_out(exchange.wording)


def test_about_one_wording_in_six_is_held_out() -> None:
    found = list(wording_phrases())
    assert len(found) == len(set(found)) > 300
    assert 0.12 < sum(map(is_held_out, found)) / len(found) < 0.22


def test_the_facts_are_enough_and_right() -> None:
    known = facts()["capitals"]
    assert len(known) >= 60
    assert len(set(known.values())) == len(known), "a city is the capital of one country"
    sample = {
        "France": "Paris",
        "Japan": "Tokyo",
        "Canada": "Ottawa",
        "Australia": "Canberra",
        "Brazil": "Brasilia",
        "Turkey": "Ankara",
        "Switzerland": "Bern",
        "Morocco": "Rabat",
        "Vietnam": "Hanoi",
        "Kenya": "Nairobi",
    }
    assert sample.items() <= known.items()
    opposed = [word for pair in facts()["opposites"] for word in pair]
    assert len(set(opposed)) == len(opposed), "a word has one opposite"
    assert all(isinstance(word, str) and word.islower() for word in opposed)


def test_the_same_seed_asks_the_same() -> None:
    once, again = ([sample_exchange(random.Random(n), "train") for n in range(20)] for _ in "ab")
    assert once == again
    assert len({exchange.question for exchange in once}) > 15
    assert {
        exchange.skill
        for exchange in (sample_exchange(random.Random(n), "test") for n in range(300))
    } == set(SKILLS)


def test_plain_sentences_are_plain() -> None:
    rng = random.Random(0)
    sentences = [sample_sentence(rng) for _ in range(DRAWS)]
    assert len(set(sentences)) > 0.95 * DRAWS
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z][A-Za-z ]+\.", sentence), sentence


def test_held_out_voices_are_never_trained_on() -> None:
    assert not set(training_voices()) & set(held_out_voices())
    rng = random.Random(0)
    for _ in range(100):
        assert corpus.question(rng, "train").voice.name in training_voices()
        assert corpus.question(rng, "test").voice.name in held_out_voices()
        assert corpus.reading(rng, "train").voice.name in training_voices()
        assert corpus.reading(rng, "test").voice.name in held_out_voices()


def test_the_assistant_has_one_voice() -> None:
    rng = random.Random(0)
    voices = {corpus.reply(rng).voice for _ in range(50)}
    assert len(voices) == 1


def test_a_question_brings_its_answer() -> None:
    line = corpus.question(random.Random(0), "train")
    assert line.extra.keys() == {"answer", "skill", "wording"}
    assert ANSWER[line.extra["skill"]](line.text) == line.extra["answer"]
