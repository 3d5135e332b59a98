# ruff: noqa: E501  tables read best with a case on a line
"""Written text becomes words: tables in two languages, and what holds for any text."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_synth.number_words import Language
from data_synth.plain_text import encoding_trouble
from data_synth.speakable import speakable

ENGLISH = {
    # numbers
    "We saw 7 birds.": "We saw seven birds.",
    "1,234,567 people": "one million two hundred and thirty-four thousand five hundred and sixty-seven"
    " people",
    "Pi is 3.14159.": "Pi is three point one four one five nine.",
    "It fell by .5 or 0.05.": "It fell by point five or zero point zero five.",
    "a -5 and a 20-year-old": "a minus five and a twenty-year-old",
    "the 1st, 2nd, 23rd and 100th": "the first, second, twenty-third and one hundredth",
    "pages 10-12": "pages ten to twelve",
    "won 3–2": "won three to two",
    "a ratio of 3:1": "a ratio of three to one",
    "1/2 cup, 3/4, 1 1/2 cups, 2½ inches": "one half cup, three quarters, one and a half cups, two and"
    " a half inches",
    "2/3 of 5/8": "two thirds of five eighths",
    "open 24/7 since 9/11": "open twenty-four seven since nine eleven",
    "version 1.2.3": "version one point two point three",
    "6.02×10^23 and 10⁶": "six point zero two times ten to the power of twenty-three and ten to the"
    " power of six",
    "x² + y³": "x squared plus y cubed",
    "a 2x4 board": "a two by four board",
    "٣ and ３": "three and three",
    "agent 007": "agent zero zero seven",
    "ISBN 9780262033848": "ISBN nine seven eight zero two six two zero three three eight four eight",
    "1000000000 stars": "one billion stars",
    # years and dates
    "In 1999 and 2024, not 2005.": "In nineteen ninety-nine and twenty twenty-four, not two thousand"
    " and five.",
    "(1815–1852)": "(eighteen fifteen to eighteen fifty-two)",
    "World War I (1914-18)": "World War I (nineteen fourteen to eighteen)",
    "the 1990s, the ’80s and the 60s": "the nineteen nineties, the eighties and the sixties",
    "on 2024-05-03": "on May third, twenty twenty-four",
    "on 3 May 2024": "on the third of May, twenty twenty-four",
    "on the 3rd of May": "on the third of May",
    "on May 3rd, 2024": "on May third, twenty twenty-four",
    "on May 3, 2024, we": "on May third, twenty twenty-four, we",
    "Jan. 15, 2020": "January fifteenth, twenty twenty",
    "5/3/2024 or 25/12/2023": "May third, twenty twenty-four or December twenty-fifth, twenty"
    " twenty-three",
    "in June 2024": "in June twenty twenty-four",
    "99/99/2024": "ninety-nine ninety-nine twenty twenty-four",
    # times
    "at 10:30 or 5:05": "at ten thirty or five oh five",
    "at 5 p.m. We left.": "at five PM. We left.",
    "at 10:30 a.m. we left": "at ten thirty AM we left",
    "at 6:00": "at six o'clock",
    "Mark 3:16": "Mark three sixteen",
    # quantities
    "50% or 3.5 %": "fifty percent or three point five percent",
    "5-10% more": "five to ten percent more",
    "5 km, 1 km, 10kg": "five kilometres, one kilometre, ten kilograms",
    "60 km/h and 9.8 m/s²": "sixty kilometres per hour and nine point eight metres per second"
    " squared",
    "100 m², 3 cm^3": "one hundred square metres, three cubic centimetres",
    "-5°C is 23 °F": "minus five degrees Celsius is twenty-three degrees Fahrenheit",
    "6 ft, 150 lbs, 70 mph": "six feet, one hundred and fifty pounds, seventy miles per hour",
    "3 GHz and 16 GB": "three gigahertz and sixteen gigabytes",
    # money
    "$5.50, $1, $0.99": "five dollars and fifty cents, one dollar, ninety-nine cents",
    "$1.2 million or £3bn": "one point two million dollars or three billion pounds",
    "€20 and ¥500 and 20 €": "twenty euros and five hundred yen and twenty euros",
    "US$100": "one hundred US dollars",
    "$5-10 million": "five to ten million dollars",
    "£1.01 and £2.50": "one pound and one penny and two pounds and fifty pence",
    # telephones
    "Call 555-1234.": "Call five five five, one two three four.",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+44 20 7946 0958": "plus four four, two zero, seven nine four six, zero nine five eight",
    # words
    "Henry VIII and Chapter IV": "Henry VIII and Chapter IV",
    "Dr. Smith vs. Mr. Jones": "Doctor Smith versus Mister Jones",
    "fruit, e.g. apples, i.e. food": "fruit, for example apples, that is food",
    "pens, ink, etc. Then": "pens, ink, et cetera. Then",
    "pens, etc., and": "pens, et cetera, and",
    "St. Paul, on Main St.": "Saint Paul, on Main Street.",
    "the U.S. Army": "the U S Army",
    "No. 5, Fig. 2, pp. 3-4": "number five, Figure two, pages three to four",
    "say No. Then": "say No. Then",
    "AT&T and R & D": "AT and T and R and D",
    "MP3, COVID-19, H2O, H₂O": "MP three, COVID nineteen, H two O, H two O",
    "#1 in C#": "number one in C",
    "see https://www.example.com/about?x=1.": "see example dot com slash about.",
    "to jane.doe@example.org!": "to jane dot doe at example dot org!",
    "2 + 2 = 4, 3 < 5": "two plus two equals four, three less than five",
    "========": "",
    # markup
    "# Cells\n\nA *cell* is **small**.": "Cells. A cell is small.",
    "- one\n- two\n\nThree": "one. two. Three",
    "[the page](http://x.org/a_b) `code`": "the page code",
    "water[1] is wet[citation needed]": "water is wet",
    "<p>One &amp; <b>two</b></p><p>Three</p>": "One and two. Three",
    "<!-- no --><script>x<1</script>yes": "yes",
    "| a | b |\n|---|---|\n| c | d |": "a, b. c, d",
    "&lt;b&gt;bold&lt;/b&gt;": "bold",
    "smile 😀👍🏽 1️⃣": "smile",
    "so\u00adft wo\u200brd\u0007": "soft word",
    "ｆｕｌｌ　ｗｉｄｔｈ": "full width",
    "exam-\nple": "example",
    "don’t “stop”": "don't “stop”",
    "one\r\ntwo\tthree": "one two three",
}

CHINESE = {
    "我有2024个苹果。": "我有二千零二十四个苹果。",
    "2024年5月3日": "二零二四年五月三日",
    "2024-05-03开始，2024/5/3结束": "二零二四年五月三日开始，二零二四年五月三日结束",
    "1990年代和90年代": "一九九零年代和九十年代",
    "2010-2015年，98年，5年": "二零一零到二零一五年，九八年，五年",
    "20世纪": "二十世纪",
    "早上8:05，下午10：30，2:00": "早上八点零五分，下午十点三十分，两点整",
    "比分3:2": "比分三比二",
    "占50%，增长3.5％": "占百分之五十，增长百分之三点五",
    "5-10%": "百分之五到百分之十",
    "￥35.5和$1.2亿": "三十五点五元和一点二亿美元",
    "花了100元": "花了一百元",
    "€5": "五欧元",
    "长5km，重10kg，面积100m²": "长五公里，重十公斤，面积一百平方米",
    "时速60km/h": "时速六十公里每小时",
    "气温-5℃到3°C": "气温零下五摄氏度到三摄氏度",
    "3/4的人，1½小时": "四分之三的人，一又二分之一小时",
    "电话13812345678": "电话一三八一二三四五六七八",
    "电话010-12345678": "电话零一零，一二三四五六七八",
    "2个人，12个，2月2日，第2名": "两个人，十二个，二月二日，第二名",
    "第1章": "第一章",
    "5~10个": "五到十个",
    "共1,234,567人": "共一百二十三万四千五百六十七人",
    "编号1234567890123456789": "编号一二三四五六七八九零一二三四五六七八九",
    "版本1.2.3": "版本一点二点三",
    "圆周率约3.14。": "圆周率约三点一四。",
    "他在IBM工作了5年": "他在IBM工作了五年",
    "使用Python 3编程": "使用Python 三编程",
    "ＡＢＣ，１２３！": "ABC，一百二十三！",
    "5+3=8": "五加三等于八",
    "A&B公司": "A和B公司",
    "邮箱是abc@test.com": "邮箱是abc 艾特 test 点 com",
    "《红楼梦》：第3回……": "《红楼梦》：第三回……",
    "二〇二四年": "二〇二四年",
    "# 标题\n\n正文": "标题。正文",
    "第一行\n第二行": "第一行第二行",
    "你好😀，<b>世界</b>！": "你好，世界！",
    "卡尔·马克思": "卡尔·马克思",
}

MIXED = {
    "In 1999 we went to 北京 and saw 5 people.": "In nineteen ninety-nine we went to 北京 and saw five"
    " people.",
    "他说 there are 15 people in the room 然后5个人走了": "他说 there are fifteen people in the room"
    " 然后五个人走了",
    "5个人 told me about the plan 3次": "五个人 told me about the plan 三次",
    "今年是2024": "今年是二千零二十四",
    "2024": "twenty twenty-four",
    "iPhone 15发布了": "iPhone 十五发布了",
}


@pytest.mark.parametrize(("written", "said"), ENGLISH.items())
def test_english(written: str, said: str) -> None:
    assert speakable(written, "en") == said
    assert speakable(written) == said, "what is all English needs no telling"


@pytest.mark.parametrize(("written", "said"), CHINESE.items())
def test_chinese(written: str, said: str) -> None:
    assert speakable(written, "zh") == said


@pytest.mark.parametrize(("written", "said"), MIXED.items())
def test_digits_are_read_in_the_language_around_them(written: str, said: str) -> None:
    assert speakable(written) == said


@pytest.mark.parametrize(("language", "nine"), [("en", "nine"), ("zh", "九")])
def test_what_is_too_long_to_be_a_number_is_read_digit_by_digit(
    language: Language, nine: str
) -> None:
    assert speakable("9" * 5_000, language).count(nine) == 5_000
    assert speakable(",".join(["999"] * 500), language).count(nine) == 1_500


def test_a_language_that_is_named_reads_everything() -> None:
    assert speakable("2024", "zh") == "二千零二十四"
    assert speakable("今年是2024", "en") == "今年是twenty twenty-four"


PIECES = st.sampled_from(
    [
        *"0123456789٣½²⁶①〇.,:;-–—~/%$€£¥°#&+=<>*_|`^()[]{}!?\"'’“”，。！？：；（）…·@\\\n\t ",
        *"aAxeEkmsTMPp年月日个元中国北京é\u0301\u0327\u200b\u00ad\u20e3\ufe0f😀ﷺ™\x00\x85\ud800ªⅣ㎏",
        "km", "°C", "Dr.", "e.g.", "etc.", "St.", "No.", "U.S.", "May", "Jan.", "p.m.", "1990s",
        "3rd", "http://", "www.", ".com", "a@b.cn", "<b>", "</b>", "<!--", "-->", "&amp;", "&lt;",
        "```", "---", "](", "1,000", "10:30", "2024", "million", "there are many people here",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=25).map("".join))
LANGUAGES = st.sampled_from(["en", "zh", None])


@settings(max_examples=600, deadline=None)
@given(TEXTS, LANGUAGES)
@example("<<b>b>1", "en")
@example("&amp;amp;lt;b&gt;", None)
@example("D\u200br. 5", "en")
def test_what_comes_out_is_words_and_stays(text: str, language: Language | None) -> None:
    said = speakable(text, language)
    assert speakable(said, language) == said
    assert "  " not in said
    assert said == said.strip()
    for c in said:
        assert unicodedata.category(c)[0] in "LMP" or c in " 〇", f"{c!r} is no word"
        assert not c.isdigit()
        assert c not in "<>[]{}*_#`|\\@%&/"


@pytest.mark.parametrize(
    "piece", ["1", "1 ", "$1", "<", "<!--", "[a](", "a*", "\u0301\u0327", " \n"]
)
def test_a_document_made_to_be_slow_is_done(piece: str) -> None:
    """Patterns that look at a stretch again and again would need hours for these."""
    said = speakable(piece * 100_000)
    assert not any(c.isdigit() or c in "<$[*" for c in said)


MISREAD = [
    "CafÃ© au lait", "donâ€™t", "25Â°C", "the caf\ufffd", "锟斤拷", "a\x92s", "\ud800", "a\0b", "ä½ å¥½",
]  # fmt: skip
READ = ["naïve café", "“Hello” – he said…", "5 µm × 3 °C", "你好，世界！", "Привет", "𝒳 ½ ①", ""]


@pytest.mark.parametrize("text", MISREAD)
def test_a_wrong_encoding_is_reported(text: str) -> None:
    assert encoding_trouble(text)


@pytest.mark.parametrize("text", READ)
def test_a_right_encoding_is_not(text: str) -> None:
    assert encoding_trouble(text) is None
