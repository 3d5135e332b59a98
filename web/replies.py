"""The replies of a session: the one that its conversation waits for, and those beside it."""

from web.response import Response

MAX_BESIDE = 4  # at the same time


class Replies:
    """Which replies there are.

    Attributes:
        active: The conversation's own, of which there is one at a time.
        plays_until: When a client that plays at once will have played all of those that are over.
    """

    def __init__(self, now: float) -> None:
        self.active: Response | None = None
        self.plays_until = now
        self._beside: dict[str, Response] = {}  # outside the conversation
        self._by_item: dict[str, Response] = {}  # in the conversation, to be truncated

    @property
    def under_way(self) -> list[Response]:
        """All that are not over."""
        return [*([self.active] if self.active else []), *self._beside.values()]

    @property
    def is_full(self) -> bool:
        """Whether no more may run beside the conversation."""
        return len(self._beside) >= MAX_BESIDE

    def begin(self, response: Response) -> None:
        """Take a new one."""
        if response.conversation_id is None:
            self._beside[response.id] = response
        else:
            self.active = response
            self._by_item[response.item.id] = response

    def over(self, response: Response) -> None:
        """Take note of the end of one."""
        if self._beside.pop(response.id, None) is None:
            self.active = None
        self.plays_until = max(self.plays_until, response.plays_until)

    def find(self, response_id: object) -> Response | None:
        """Return one that is not over."""
        return next((one for one in self.under_way if one.id == response_id), None)

    def of_item(self, item_id: str) -> Response | None:
        """Return the one that made an item of the conversation."""
        return self._by_item.get(item_id)

    def forget(self, item_id: str) -> None:
        """Forget that an item was made by one."""
        self._by_item.pop(item_id, None)

    def is_talking(self, now: float) -> bool:
        """Say whether the client is playing one, or is about to."""
        return now < self.plays_until or any(one.settings.speaks for one in self.under_way)

    def wakes_at(self, now: float) -> float | None:
        """Return when more of one may leave; None if that is not a matter of time."""
        times = [at for one in self.under_way if (at := one.wakes_at(now)) is not None]
        return min(times, default=None)
