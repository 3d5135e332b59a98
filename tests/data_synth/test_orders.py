"""Orders of coffee: what is said and what is repeated both hold every slot, and no other."""

import random
import re

import pytest

from data_synth.world.orders import reply_for, sample_order, values, wordings
from voiceglm.errors import ConfigError
from voiceglm.evaluation.orders import ORDER, Order, read_order, vocabulary

KNOWN = vocabulary(Order(ORDER, {name: value}) for name in values() for value in values()[name])


def test_every_slot_is_read_back_out_of_the_reply() -> None:
    rng = random.Random(0)
    for number in range(10_000):
        order = sample_order(rng, "test" if number % 2 else "train")
        for text in (order.reply, order.question):
            heard = read_order(text, KNOWN)
            assert heard, text
            assert heard.slots == order.slots, text


def test_values_are_those_of_the_labels() -> None:
    assert {name: len(listed) for name, listed in values().items()} == {
        "coffeeDrink": 10,
        "size": 7,
        "numberOfShots": 3,
        "roast": 3,
        "milkAmount": 36,
        "sugarAmount": 18,
    }
    assert {"soy milk", "a little bit of cream"} < set(values()["milkAmount"])
    assert {"sweetener", "lots of brown sugar"} < set(values()["sugarAmount"])
    assert all(value == value.strip() for listed in values().values() for value in listed)


def test_slots_come_by_halves_and_a_drink_always() -> None:
    rng = random.Random(1)
    orders = [sample_order(rng, "train") for _ in range(2_000)]
    for name in values():
        share = sum(name in order.slots for order in orders) / len(orders)
        assert share == 1 if name == "coffeeDrink" else 0.4 < share < 0.6


def test_there_are_thousands_of_wordings_on_two_sides() -> None:
    assert len(set(wordings())) >= 4_000
    rng = random.Random(2)
    sides = [{sample_order(rng, side).wording for _ in range(600)} for side in ("train", "test")]
    assert not sides[0] & sides[1]
    assert all(wording.count("{coffeeDrink}") == 1 for wording in wordings())


def test_the_article_fits() -> None:
    rng = random.Random(3)
    said = " ".join(sample_order(rng, "train").question for _ in range(2_000))
    assert " an eight ounce" in said
    assert " an iced coffee" in said
    assert " a large" in said
    assert not re.search(r"\ba (?=[aei])|\ban (?![aei])|\(n\)", said)


def test_an_order_is_repeated_in_one_order_and_without_blanks() -> None:
    slots = {
        "sugarAmount": " sweetener",
        "milkAmount": "a lot of cream",
        "numberOfShots": "double shot",
        "coffeeDrink": "latte",
        "roast": "dark roast",
        "size": "small",
    }
    expected = "One small dark roast double shot latte with a lot of cream and sweetener."
    assert reply_for(slots) == expected
    assert reply_for({"coffeeDrink": "mocha"}) == "One mocha."


@pytest.mark.parametrize(
    ("slots", "reason"),
    [
        ({"size": "small"}, "there is no coffeeDrink"),
        ({"coffeeDrink": "mocha", "cup": "paper"}, "slot 'cup' is not known"),
    ],
)
def test_what_cannot_be_repeated_is_refused(slots: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"an order cannot be repeated: {reason}"):
        reply_for(slots)
