"""The nano world: every answer is right, and what evaluation asks was never heard in training.

The answers are worked out again here, from the question's words alone.
"""

import calendar
import random
import re
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from num2words import num2words

from data_synth import corpus
from data_synth.tts import held_out_voices, training_voices
from data_synth.world import (
    LANGUAGES,
    NUMBERS,
    Exchange,
    is_held_out,
    sample_exchange,
    sample_reckoning,
    sample_sentence,
    wording_phrases,
    wordings,
    world,
)
from data_synth.world.english import facts

SKILLS = tuple(world().skills)

WORD = {n: num2words(n).replace("-", " ").replace(",", "") for n in range(10_000)}
VALUE = {word.replace(" and ", " "): number for number, word in WORD.items()}
WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
YEAR = list(calendar.month_name)[1:]
DRAWS = 500


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def numbers(text: str) -> list[int]:
    """Return the numbers in a text; "twenty one" is one of them."""
    found, said = [], [word for word in words(text) if word != "and"]
    while said:
        for length in (4, 3, 2, 1):
            if (phrase := " ".join(said[:length])) in VALUE and len(said) >= length:
                found.append(VALUE[phrase])
                said = said[length:]
                break
        else:
            said = said[1:]
    return found


def arithmetic(question: str) -> str:
    match = re.search(r"((?:\w+ )+?)(plus|minus|times|divided by) ([\w ]+)", question)
    assert match
    operator = match[2]
    x, y = numbers(match[1])[-1], numbers(match[3])[0]
    result = {"plus": x + y, "minus": x - y, "times": x * y}.get(operator)
    if result is None:
        assert x % y == 0
        result = x // y
    assert 0 <= result <= 100
    return f"{WORD[x].capitalize()} {operator} {WORD[y]} is {WORD[result]}."


def comparison(question: str) -> str:
    high, low = sorted(numbers(question), reverse=True)
    assert high > low
    return f"{WORD[high].capitalize()} is bigger than {WORD[low]}."


def listed(values: range) -> str:
    return ", ".join(WORD[n] for n in values).capitalize() + "."


def counting(question: str) -> str:
    first, last = numbers(question)
    assert first < last <= 100
    return listed(range(first, last + 1))


def backwards(question: str) -> str:
    first, last = numbers(question)
    assert last < first <= 100
    return listed(range(first, last - 1, -1))


def steps(question: str) -> str:
    first, last = numbers(question)
    names = {"twos": 2, "threes": 3, "fives": 5, "tens": 10}
    (step,) = (names[word] for word in words(question) if word in names)
    assert (last - first) % step == 0
    assert last <= 100
    return listed(range(first, last + 1, step))


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


def in_turn(names: list[str], question: str) -> str:
    (name,) = (name for name in names if re.search(rf"\b{name}\b", question))
    side, step = ("before", -1) if " before " in question else ("after", 1)
    return f"{names[(names.index(name) + step) % len(names)]} comes {side} {name}."


def days(question: str) -> str:
    return in_turn(WEEK, question)


def months(question: str) -> str:
    return in_turn(YEAR, question)


def last_of(listed: Iterable[str], question: str) -> str:
    """Return the word of a list that is asked for: no wording has it, or it stands last."""
    known = set(listed)
    return [word for word in words(question) if word in known][-1]


def initials(question: str) -> str:
    word = last_of(facts()["begins"].split(), question.replace(", please", ""))
    return f"{word.capitalize()} begins with {word[0].upper()}."


def rhymes(question: str) -> str:
    pairs = facts()["rhymes"]
    other = dict(pairs) | {b: a for a, b in pairs}
    word = last_of(other, question)
    return f"{other[word].capitalize()} rhymes with {word}."


def continents(question: str) -> str:
    (country,) = (name for name in facts()["continents"] if re.search(rf"\b{name}\b", question))
    return f"{country} is in {facts()['continents'][country]}."


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeio" else f"a {word}"


def of_animal(name: str, answer: str, question: str) -> str:
    animal = last_of(facts()[name], question)
    known = facts()[name][animal]
    said = answer.format(a=article(animal), animal=animal, known=known, a_known=article(known))
    return said[0].upper() + said[1:]


def sizes(question: str) -> str:
    asked = [word for word in words(question) if word in facts()["sizes"]]
    small, large = sorted(asked, key=facts()["sizes"].index)
    if "bigger" in question:
        return f"{article(large).capitalize()} is bigger than {article(small)}."
    return f"{article(small).capitalize()} is smaller than {article(large)}."


def conversion(question: str) -> str:
    said = words(question.lower())
    (count,) = numbers(question)
    for large, small, factor in facts()["conversions"]:
        units = large if count == 1 else facts()["numerous"][large]
        if units in said and small in said:
            verb = "is" if count == 1 else "are"
            return f"{WORD[count].capitalize()} {units} {verb} {WORD[count * factor]} {small}."
    raise AssertionError(question)


def digits(question: str) -> str:
    return ", ".join(WORD[n] for n in numbers(question)).capitalize() + "."


def refusal(question: str) -> str:
    asked = ("call my", "order a", "turn on", "play some", "send a", "book a")
    cannot = any(each in question.lower() for each in asked)
    return f"I am sorry, I {'cannot do' if cannot else 'do not know'} that."


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
    "months": months,
    "comparison": comparison,
    "repeat": repeat,
    "steps": steps,
    "backwards": backwards,
    "initials": initials,
    "rhymes": rhymes,
    "continents": continents,
    "young": partial(of_animal, "young", "A young {animal} is called {a_known}."),
    "sounds": partial(of_animal, "sounds", "{a} {known}."),
    "kinds": partial(of_animal, "kinds", "{a} is {a_known}."),
    "sizes": sizes,
    "conversion": conversion,
    "digits": digits,
    "refusal": refusal,
}


def draws(skill: str) -> list[Exchange]:
    rng = random.Random(skill)
    return [sample_exchange(rng, "train" if n % 2 else "test", skill) for n in range(DRAWS)]


def test_every_skill_is_checked() -> None:
    assert len(SKILLS) >= 20
    assert set(SKILLS) == ANSWER.keys()


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
    assert len(found) == len(set(found)) > 2_000
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
        for exchange in (sample_exchange(random.Random(n), "test") for n in range(1_000))
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


def test_numbers_are_reckoned_with_by_skills_there_are() -> None:
    known = set(world("en").skills) | set(world("zh").skills)
    assert known >= NUMBERS.keys()
    rng = random.Random(0)
    drawn = [sample_reckoning(rng, "train", language) for language in LANGUAGES for _ in range(300)]
    assert {exchange.skill for exchange in drawn} == NUMBERS.keys()
    assert {exchange.language for exchange in drawn} == set(LANGUAGES)
