"""Many prompts to many continuations with a network of transformers, in this process.

Letters used in shapes: B prompts, H heads, L positions, D channels, P legal ids.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from data_synth.batch_lm import Choice, Ids
from voiceglm.errors import ConfigError

_ROOM = 64  # positions by which a cache grows


class LocalEngine:
    """A network in this process, many prompts a step.

    Prompts of like length go together, so that little is padded; a prompt that has ended leaves its
    batch. On a CPU this is several times faster than the continuous batching of transformers at
    these sizes (docs/data.md, engines), and what may come can be restricted.

    Args:
        network: A causal language model of transformers.
        legal: Ids that may come.
        end: The one of them that ends.
        choice: How ids are chosen.
    """

    def __init__(self, network: PreTrainedModel, legal: Sequence[int], end: int, choice: Choice):
        if end not in legal:
            raise ConfigError(f"the id that ends, {end}, must be among the legal ones")
        self._network = network
        self._legal = torch.tensor(sorted(legal))
        self._end = end
        self._choice = choice
        weight = network.lm_head.weight
        self._head = weight.detach()[self._legal.to(weight.device)]  # (P, D)

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new: Sequence[int], seed: int
    ) -> list[Ids]:
        """See :class:`Engine`."""
        size = self._network.config.vocab_size
        for ids in prompts:
            if not ids or not 0 <= min(ids) <= max(ids) < size:
                raise ConfigError(f"a prompt needs ids, all of them in 0..{size - 1}")
        found: list[Ids] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda n: (max_new[n], len(prompts[n]), n))
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, len(order), self._choice.batch_size):
            numbers = order[start : start + self._choice.batch_size]
            for number, id_ in self._batch(numbers, prompts, max_new, generator):
                found[number].append(id_)
        return found

    def close(self) -> None:
        """See :class:`Engine`."""
        del self._network, self._head

    @torch.inference_mode()
    def _batch(
        self,
        numbers: list[int],
        prompts: Sequence[Sequence[int]],
        max_new: Sequence[int],
        generator: torch.Generator,
    ) -> Iterator[tuple[int, int]]:
        """Continue one batch and yield ids with the number of the prompt they belong to."""
        device = self._head.device
        ids, mask = _pad_left([prompts[n] for n in numbers], device)  # (B, L) each
        past = Cache(layer_class_to_replicate=_RoomyLayer)
        room = [max_new[n] for n in numbers]  # 0 of those that have ended
        while any(room):
            positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            states = self._network.model(
                ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=past,
                use_cache=True,
            ).last_hidden_state[:, -1]
            chosen = self._choose(states, generator)  # (B,)
            listed = chosen.tolist()
            for place, id_ in enumerate(listed):
                if room[place]:
                    yield numbers[place], id_
                    room[place] = 0 if id_ == self._end else room[place] - 1
            kept = [place for place, left in enumerate(room) if left]
            # Rows that ended are dropped once they are a quarter: copying costs, too.
            if len(kept) < 0.75 * len(numbers):
                rows = torch.tensor(kept, device=device, dtype=torch.long)
                past.batch_select_indices(rows)
                chosen, mask = chosen[rows], mask[rows]
                numbers, room = [numbers[n] for n in kept], [room[n] for n in kept]
            ids = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)

    def _choose(self, states: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an id for each row of (B, D)."""
        logits = (states @ self._head.T).float().cpu()  # (B, P)
        if self._choice.temperature == 0:
            picked = logits.argmax(1)
        else:
            most = min(self._choice.top_k, logits.shape[1])
            best, order = logits.topk(most, dim=1)  # (B, most), the likeliest first
            odds = (best / self._choice.temperature).softmax(1)
            # An id stays if those likelier than it have not yet reached the share.
            odds = odds.masked_fill(odds.cumsum(1) - odds >= self._choice.top_p, 0.0)
            drawn = torch.multinomial(odds, 1, generator=generator)
            picked = order.gather(1, drawn)[:, 0]
        return self._legal[picked].to(states.device)


def _pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    length = max(map(len, prompts))
    ids = torch.zeros((len(prompts), length), dtype=torch.long)
    mask = torch.zeros((len(prompts), length), dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, length - len(prompt) :] = True
    return ids.to(device), mask.to(device)


class _RoomyLayer(DynamicLayer):
    """Keys and values of a layer in a buffer with room for what is to come.

    transformers copies all of them at every step, which takes half of the time at this size.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffers: list[Tensor] = []  # keys and values, (B, H, L with room, D)
        self._length = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Take (B, H, new, D) of each and return all there are."""
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        behind = self._length + key_states.shape[2]
        new = [key_states, value_states]
        if not self._buffers:
            self._buffers = [_with_room(each, behind) for each in new]
        elif behind > self._buffers[0].shape[2]:
            self._buffers = [_with_room(each, behind) for each in self._buffers]
        for buffer, states in zip(self._buffers, new, strict=True):
            buffer[:, :, self._length : behind] = states
        self._length = behind
        self.keys, self.values = (buffer[:, :, :behind] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self.keys, self.values = (buffer[:, :, : self._length] for buffer in self._buffers)


def _with_room(states: Tensor, length: int) -> Tensor:
    """Return a larger buffer that begins with what (B, H, L, D) held."""
    batch, heads, held, size = states.shape
    buffer = states.new_zeros(batch, heads, length + _ROOM, size)
    buffer[:, :, :held] = states
    return buffer
