"""The nano world in Chinese: answers are right, questions can be spoken, wordings are held out.

Numbers are read back from their characters, so that sums are worked out again from the words.
"""

import random
import re
from collections.abc import Callable, Iterator

import pytest

from data_synth.world import is_held_out
from data_synth.world.chinese import (
    SKILLS,
    all_follow_ups,
    all_wordings,
    facts,
    finish,
    follow_ups,
    letters,
    memory,
    number,
    quantity,
    sentence,
)

DRAWS = 400
DIGITS = "零一二三四五六七八九"
PLACES = {"十": 10, "百": 100, "千": 1000}
UNITS = {
    ("小时", "分钟"): 60,
    ("分钟", "秒"): 60,
    ("天", "小时"): 24,
    ("个星期", "天"): 7,
    ("年", "个月"): 12,
    ("米", "厘米"): 100,
    ("厘米", "毫米"): 10,
    ("公里", "米"): 1000,
    ("公斤", "克"): 1000,
    ("吨", "公斤"): 1000,
    ("元", "角"): 10,
}
FIGURES = rf"[{DIGITS}{''.join(PLACES)}两]+"


def value(words: str) -> int:
    """Read a number up to 9999 from its characters."""
    total, digit = 0, 0
    for character in words.replace("两", "二"):
        if character in PLACES:
            total += (digit or 1) * PLACES[character]
            digit = 0
        else:
            digit = DIGITS.index(character)
    return total + digit


def draws(skill: str) -> Iterator[tuple[str, str]]:
    rng = random.Random(skill)
    for _ in range(DRAWS):
        yield SKILLS[skill](rng, rng.choice(all_wordings(skill)))


def numbers(text: str) -> list[int]:
    return [value(words) for words in re.findall(FIGURES, text)]


def in_order(text: str) -> list[int]:
    assert text.endswith("。")
    return [value(words) for words in text[:-1].split("，")]


def arithmetic(question: str, answer: str) -> bool:
    a, operator, b, result = re.fullmatch(r"(\w+)([加减乘])(\w+)等于(\w+)。", answer).groups()  # type: ignore[union-attr]
    x, y = value(a), value(b)
    right = {"加": x + y, "减": x - y, "乘": x * y}[operator] == value(result)
    return right and f"{a}{operator}{b}" in question and 0 <= value(result) <= 100


def division(question: str, answer: str) -> bool:
    a, b, result = numbers(answer)
    return a == b * result and f"{number(a)}除以{number(b)}" in question


def counting(question: str, answer: str) -> bool:
    said = in_order(answer)
    asked = rf"[从把]{number(said[0])}(?!{FIGURES}).*到{number(said[-1])}(?!{FIGURES})"
    return said == list(range(said[0], said[-1] + 1)) and bool(re.search(asked, question))


def backwards(question: str, answer: str) -> bool:
    said = in_order(answer)
    step_down = said == list(range(said[0], said[-1] - 1, -1))
    return step_down and f"从{number(said[0])}" in question and f"到{number(said[-1])}" in question


def steps(question: str, answer: str) -> bool:
    said = in_order(answer)
    step = said[1] - said[0]
    asked = f"{quantity(step, '个')}{quantity(step, '个')}" in question
    asked |= f"每次加{number(step)}" in question
    even = said == list(range(said[0], said[-1] + 1, step))
    return asked and even and f"数到{number(said[-1])}" in question


def doubles(question: str, answer: str) -> bool:
    first, kind, second = re.fullmatch(r"(\w+)的(两倍|一半)是(\w+)。", answer).groups()  # type: ignore[union-attr]
    small, large = sorted((value(first), value(second)))
    return 2 * small == large and f"{first}的{kind}" in question


def neighbours(question: str, answer: str) -> bool:
    first, where, second = re.fullmatch(r"(\w+)(前面|后面)是(\w+)。", answer).groups()  # type: ignore[union-attr]
    asked = {"前面": ("前面", "小一"), "后面": ("后面", "大一")}[where]
    step = value(second) - value(first)
    return step == (1 if where == "后面" else -1) and any(each in question for each in asked)


def parity(question: str, answer: str) -> bool:
    asked, kind = re.fullmatch(r"(\w+)是([单双])数。", answer).groups()  # type: ignore[union-attr]
    return asked in question and value(asked) % 2 == (kind == "单")


def comparison(question: str, answer: str) -> bool:
    high, low = re.fullmatch(r"(\w+)比(\w+)大。", answer).groups()  # type: ignore[union-attr]
    return value(high) > value(low) and high in question and low in question


def smaller(question: str, answer: str) -> bool:
    low, high = re.fullmatch(r"(\w+)比(\w+)小。", answer).groups()  # type: ignore[union-attr]
    return value(low) < value(high) and high in question and low in question


def conversion(question: str, answer: str) -> bool:
    match = re.fullmatch(rf"({FIGURES})(\w+)是({FIGURES})(\w+)。", answer)
    assert match, answer
    a, unit, b, other = value(match[1]), match[2], value(match[3]), match[4]
    asked = f"{match[1]}{unit}" in question and f"多少{other}" in question
    if (unit, other) in UNITS:
        return asked and a * UNITS[unit, other] == b
    return asked and b * UNITS[other, unit] == a


def said_again(question: str, answer: str) -> bool:
    return question.endswith(f"，{answer}")


RIGHT: dict[str, Callable[[str, str], bool]] = {
    "arithmetic": arithmetic,
    "division": division,
    "counting": counting,
    "backwards": backwards,
    "steps": steps,
    "doubles": doubles,
    "neighbours": neighbours,
    "parity": parity,
    "comparison": comparison,
    "smaller": smaller,
    "conversion": conversion,
    "digits": said_again,
    "repeat": said_again,
}


@pytest.mark.parametrize("skill", RIGHT)
def test_what_can_be_worked_out_is_right(skill: str) -> None:
    for question, answer in draws(skill):
        assert RIGHT[skill](question, answer), (question, answer)


KNOWN = {
    "法国的首都是哪里？": "法国的首都是巴黎。",
    "东京是哪个国家的首都？": "东京是日本的首都。",
    "埃及在哪个洲？": "埃及在非洲。",
    "冷的反义词是什么？": "冷的反义词是热。",
    "热的反义词是什么？": "热的反义词是冷。",
    "草莓是什么颜色？": "草莓是红色的。",
    "狗怎么叫？": "狗汪汪叫。",
    "兔子吃什么？": "兔子吃胡萝卜。",
    "蚂蚁有几条腿？": "蚂蚁有六条腿。",
    "一什么鱼？": "一条鱼。",
    "星期天后面是星期几？": "星期天后面是星期一。",
    "星期一前面是星期几？": "星期一前面是星期天。",
    "十二月后面是几月？": "十二月后面是一月。",
    "春天前面是什么季节？": "春天前面是冬天。",
    "七月是什么季节？": "七月是夏天。",
    "鼠前面是什么生肖？": "鼠前面是猪。",
    "大象和老鼠哪个大？": "大象比老鼠大。",
    "老鼠和大象哪个大？": "大象比老鼠大。",
    "明字怎么组词？": "明，明天的明。",
    "教师节是几月几号？": "教师节是九月十号。",
    "妈妈的弟弟叫什么？": "妈妈的弟弟叫舅舅。",
    "床前明月光的下一句是什么？": "疑是地上霜。",
    "你是谁？": "我是小诺，一个语音助手。",
    "你是机器人吗？": "我是一个会说话的程序。",
    "谢谢。": "不客气。",
    "今天天气怎么样？": "对不起，这个我不知道。",
}


@pytest.mark.parametrize("question", KNOWN)
def test_what_is_known_is_right(question: str) -> None:
    rng = random.Random(0)
    fitting = [
        (SKILLS[skill], wording)
        for skill in SKILLS
        for wording in all_wordings(skill)
        if re.fullmatch(re.sub(r"{\w+}", r"\\w+", wording), question)
    ]
    drawn = [fill(rng, wording) for fill, wording in fitting for _ in range(3000)]
    assert {answer for asked, answer in drawn if asked == question} == {KNOWN[question]}


def test_one_question_has_one_answer() -> None:
    """Compared as they sound: without punctuation."""
    answers: dict[str, str] = {}
    for skill in SKILLS:
        for question, answer in draws(skill):
            assert answers.setdefault(letters(question), answer) == answer, question


def is_spoken(text: str) -> bool:
    """Say whether a text is characters and punctuation alone, in its place, and has an end."""
    return bool(re.fullmatch(r"[一-鿿]+(，[一-鿿]+)*[。？]", text))


def spoken_questions() -> Iterator[str]:
    for thing in memory().values():
        yield from thing["ask"]
        yield from (f"{told.format(value=thing['values'][0])}。" for told in thing["tell"])
        yield from (thing[name].format(value=thing["values"][0]) for name in ("told", "answer"))
        yield thing["unknown"]


@pytest.mark.parametrize("skill", SKILLS)
def test_every_wording_can_be_spoken(skill: str) -> None:
    rng = random.Random(skill)
    for wording in all_wordings(skill):
        for text in SKILLS[skill](rng, wording):
            assert is_spoken(text), text
    for wording in all_follow_ups(skill):
        for text in follow_ups()[skill](rng, wording):
            assert is_spoken(text), text


def test_what_is_told_and_asked_can_be_spoken() -> None:
    for text in spoken_questions():
        assert is_spoken(text), text


@pytest.mark.parametrize("skill", SKILLS)
def test_both_sides_of_the_split_have_wordings_that_sound_different(skill: str) -> None:
    for wordings in filter(None, (all_wordings(skill), all_follow_ups(skill))):
        assert {is_held_out(wording) for wording in wordings} == {True, False}
        sounds = [letters(wording) for wording in wordings]
        assert len(set(sounds)) == len(sounds)


def test_what_is_told_and_asked_is_held_out_too() -> None:
    for thing in memory().values():
        for kind in ("tell", "ask"):
            assert {is_held_out(wording) for wording in thing[kind]} == {True, False}


def test_there_are_thousands_of_wordings() -> None:
    found = [wording for skill in SKILLS for wording in all_wordings(skill)]
    assert len(set(found)) > 5000
    assert 0.14 < sum(map(is_held_out, found)) / len(found) < 0.2
    assert len(SKILLS) >= 22


def test_a_follow_up_is_answered_as_its_skill_is() -> None:
    rng = random.Random(0)
    known = {SKILLS["capitals"](rng, "{country}的首都是哪里？")[1] for _ in range(2000)}
    for wording in all_follow_ups("capitals"):
        question, answer = follow_ups()["capitals"](rng, wording)
        assert answer in known
        assert answer[: answer.index("的首都")] in question


def test_no_skill_is_followed_up_whose_questions_ask_for_several_things() -> None:
    """那三月呢？ could ask for the month before or for the one after."""
    for skill in follow_ups():
        assert len(facts()["skills"][skill]) == 1, skill


def test_a_word_is_asked_for_in_one_sense() -> None:
    opposed = re.split(r"[=\s]+", facts()["opposites"].strip())
    assert len(set(opposed)) == len(opposed) >= 80
    for name in ("countries", "colours", "measure_words", "continents", "family", "characters"):
        listed = [row.split() for row in facts()["tables"][name]["rows"].splitlines()]
        asked = [word for row in listed for word in row[1:]]
        assert len(set(asked)) == len(asked), name
        assert len({row[0] for row in listed}) == len(listed), name


def test_two_of_something_is_not_the_number_two() -> None:
    assert quantity(2, "小时") == "两小时"
    assert quantity(200, "厘米") == "两百厘米"
    assert quantity(22, "天") == "二十二天"
    assert number(2) == "二"


def test_numbers_are_read_as_they_are_written() -> None:
    assert [value(number(n)) for n in range(1000)] == list(range(1000))
    assert value("两千") == 2000


def test_plain_sentences_are_plain_and_short() -> None:
    rng = random.Random(0)
    sentences = [sentence(rng) for _ in range(5000)]
    assert len(set(sentences)) > 3000
    for each in sentences:
        assert is_spoken(each), each
        assert 4 <= len(letters(each)) <= 14, each
        assert not re.search(r"(\w{2})和\1", each), each


def test_the_same_seed_says_the_same() -> None:
    once, again = ([sentence(random.Random(n)) for n in range(20)] for _ in "ab")
    assert once == again


def test_a_question_is_ended_once() -> None:
    assert finish("我叫什么") == "我叫什么？"
    assert finish("你好。") == "你好。"


def test_the_world_has_few_characters() -> None:
    """A small model has to learn them all."""
    rng = random.Random(0)
    said = [text for skill in SKILLS for pair in draws(skill) for text in pair]
    said += [sentence(rng) for _ in range(2000)]
    said += spoken_questions()
    assert len(set("".join(map(letters, said)))) < 900
