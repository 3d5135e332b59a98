"""A client that sends too fast is read at the pace that is granted; nothing is lost."""

import pytest

from web.throttle import BURST_SECONDS, Throttle


def test_real_time_never_waits() -> None:
    throttle = Throttle()
    assert all(throttle.delay(1_300, 0.02 * n) == 0 for n in range(5_000))


@pytest.mark.parametrize(("size", "rate"), [(10, 400.0), (100_000, 10.0)])
def test_a_flood_is_read_at_the_rate_after_a_burst(size: int, rate: float) -> None:
    throttle, now, read = Throttle(), 0.0, 0
    while now < 60.0:
        now += throttle.delay(size, now)
        read += 1
    assert read == pytest.approx(rate * (60 + BURST_SECONDS), rel=0.01)


def test_who_was_silent_may_burst_again() -> None:
    throttle = Throttle()
    while throttle.delay(10, 0.0) == 0:
        pass
    assert throttle.delay(10, 100.0) == 0
