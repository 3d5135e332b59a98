"""The items of a conversation, as a client sees them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from web.actions import Say
from web.codec import HEARD_RATE, PCM, Inbound, Outbound, pack, unpack
from web.errors import ClientError

MAX_RETRIEVED = 900_000  # characters of audio in one message; some clients take 1 MiB at most
MAX_KEPT_SECONDS = 300  # of each side's sound in a session; older sound is forgotten
MAX_TEXT = 100_000  # characters of one item
ROLES = {  # and the parts each may have
    "user": ("input_text", "input_audio"),
    "assistant": ("output_text", "output_audio"),
    "system": ("input_text",),
}


@dataclass(eq=False)
class Item:
    """One message, or a call of a tool, which is kept and not understood."""

    id: str
    type: str = "message"
    role: str | None = None
    status: str = "completed"
    text: str | None = None
    """What was written, or how the audio reads; None while nobody knows."""
    is_audio: bool = False
    heard: Tensor | None = None
    """(num_samples,) at 16 kHz, of a user."""
    spoken: bytearray = field(default_factory=bytearray)
    """What was sent of a reply, 16-bit PCM at 24 kHz."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of what is no message, as it came."""

    def to_json(self, *, with_audio: bool = False) -> dict[str, Any]:
        """Return the protocol's item; nothing in it is null but a transcript."""
        base = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        if self.type != "message":
            return {**self.fields, **base}
        return {**base, "role": self.role, "content": self._content(with_audio)}

    def _content(self, with_audio: bool) -> list[dict[str, Any]]:
        if not self.is_audio:
            kind = "output_text" if self.role == "assistant" else "input_text"
            return [] if self.text is None else [{"type": kind, "text": self.text}]
        if self.role == "assistant" and self.text is None:
            return []  # it has only just been begun
        kind = "output_audio" if self.role == "assistant" else "input_audio"
        part: dict[str, Any] = {"type": kind, "transcript": self.text}
        audio = self._audio() if with_audio else ""
        if audio:
            part["audio"] = audio
        return [part]

    def _audio(self) -> str:
        """Return base64 of 16-bit PCM at 24 kHz; nothing if that is too much for one message."""
        data = bytes(self.spoken)
        if self.heard is not None:
            if len(self.heard) / HEARD_RATE * PCM.rate * 2 * 4 / 3 > MAX_RETRIEVED:
                return ""
            data = Outbound(HEARD_RATE, PCM).push(recall(self.heard), last=True)
        return pack(data) if len(data) * 4 / 3 <= MAX_RETRIEVED else ""


def remember(samples: Tensor) -> Tensor:
    """Return samples in half the room, as ``Item.heard`` has them."""
    return (samples.clamp(-1, 1) * 32_767).round().to(torch.int16)


def recall(heard: Tensor) -> Tensor:
    """Return the samples of ``Item.heard``, float32 in [-1, 1]."""
    return heard.float() / 32_767


def read_item(asked: object, new_id: str, *, where: str = "item") -> Item:
    """Return the item a client describes.

    Raises:
        ClientError: If there is no such item.
    """
    if not isinstance(asked, Mapping):
        raise ClientError("invalid_type", f"{where} must be an object", param=where)
    kind, item_id = asked.get("type", "message"), asked.get("id") or new_id
    if not isinstance(item_id, str) or len(item_id) > 512:
        raise ClientError("invalid_value", f"{where}.id must be text", param=f"{where}.id")
    if kind in ("function_call", "function_call_output"):
        fields = {key: value for key, value in asked.items() if isinstance(value, str)}
        return Item(item_id, kind, fields=fields)
    if kind != "message":
        message = f"{where}.type must be message, function_call or function_call_output"
        raise ClientError("invalid_value", f"{message}, got {kind!r}", param=f"{where}.type")
    role = asked.get("role")
    if not isinstance(role, str) or role not in ROLES:
        message = f"{where}.role must be one of {sorted(ROLES)}, got {role!r}"
        raise ClientError("invalid_value", message, param=f"{where}.role")
    return _message(item_id, role, asked.get("content"), where)


def read_input(asked: object, items: "Items", new_id: Callable[[], str]) -> list[Item] | None:
    """Return the items that a response is to answer instead of the conversation; None for none.

    Raises:
        ClientError: If they are no items, or one is unknown.
    """
    if asked is None:
        return None
    if not isinstance(asked, list):
        raise ClientError("invalid_type", "response.input must be a list", param="response.input")
    found: list[Item] = []
    for n, each in enumerate(asked):
        where = f"response.input[{n}]"
        if isinstance(each, Mapping) and each.get("type") == "item_reference":
            item = items.find(each.get("id"))
            if item is None:
                message = f"there is no item with id {each.get('id')!r}"
                raise ClientError("invalid_value", message, param=where)
            found.append(item)
        else:
            found.append(read_item(each, new_id(), where=where))
    return found


def _message(item_id: str, role: str, content: object, where: str) -> Item:
    if not isinstance(content, list) or not content:
        raise ClientError(
            "invalid_value", f"{where}.content must be a list of parts", param=f"{where}.content"
        )
    texts: list[str] = []
    sound: list[Tensor] = []
    for n, part in enumerate(content):
        place = f"{where}.content[{n}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in ROLES[role]:
            message = f"{place}.type of a {role} must be one of {list(ROLES[role])}, got {kind!r}"
            raise ClientError("invalid_value", message, param=f"{place}.type")
        if kind == "input_audio":
            sound.append(_samples(part.get("audio"), f"{place}.audio"))
        elif (text := part.get("text") or part.get("transcript")) is not None:
            texts.append(_checked(text, place))
    text = "\n".join(texts) if texts else None
    if sound:
        return Item(item_id, role=role, text=text, is_audio=True, heard=torch.cat(sound))
    return Item(item_id, role=role, text=text or "")


def _samples(audio: object, where: str) -> Tensor:
    return remember(Inbound(PCM).push(unpack(audio, PCM, param=where)))


def _checked(text: object, where: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ClientError(
            "invalid_value", f"{where} must be text of at most {MAX_TEXT}", param=where
        )
    return text


def say_order(item: Item, before: tuple[str, ...] = ()) -> Say | None:
    """Return the order that makes a model remember an item; None if it understands none."""
    if item.type != "message" or item.role not in ("user", "assistant", "system"):
        return None
    said: str | Tensor = item.text or ""
    if item.heard is not None:
        said = recall(item.heard)
    return Say(item.id, item.role, said, before)


class Items:
    """All of them, in order."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        """Count them."""
        return len(self._items)

    def find(self, item_id: object) -> Item | None:
        """Return an item, None if it is unknown."""
        return next((item for item in self._items if item.id == item_id), None)

    def before(self, item: Item) -> str | None:
        """Return the id of the predecessor, None of the first."""
        place = self._items.index(item)
        return self._items[place - 1].id if place else None

    def after(self, item: Item) -> list[Item]:
        """Return everything behind an item."""
        return self._items[self._items.index(item) + 1 :]

    def add(self, item: Item, previous: object = None) -> None:
        """Put an item behind another; behind all if there is none named, ``root`` for the head.

        Raises:
            ClientError: If its id is taken, or the other is unknown.
        """
        if self.find(item.id):
            message = f"item with id {item.id!r} already exists"
            raise ClientError("item_create_duplicate_item_id", message, param="item.id")
        if previous is None:
            self._items.append(item)
        elif previous == "root":
            self._items.insert(0, item)
        elif (other := self.find(previous)) is not None:
            self._items.insert(self._items.index(other) + 1, item)
        else:
            raise ClientError(
                "item_create_invalid_previous_item_id",
                f"there is no item with id {previous!r}",
                param="previous_item_id",
            )

    def forget_old_sound(self) -> None:
        """Keep the newest minutes; of older items the words remain."""
        heard, spoken = MAX_KEPT_SECONDS * HEARD_RATE, MAX_KEPT_SECONDS * PCM.rate * PCM.width
        for item in reversed(self._items):
            heard -= 0 if item.heard is None else len(item.heard)
            spoken -= len(item.spoken)
            if heard < 0:
                item.heard = None
            if spoken < 0:
                item.spoken.clear()

    def remove(self, item: Item) -> None:
        """Take one out."""
        self._items.remove(item)
