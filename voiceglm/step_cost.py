"""What one training step of a module costs, counted without computing it.

Modules stand on torch's meta device, which knows shapes and has no memory. Run there, a step calls
the very kernels it would call on a GPU: torch's own counter adds up their operations (a
multiplication and an addition are two), and the birth and death of every storage is watched, which
gives the most memory held at once.

What the meta device lacks is put in its place: bfloat16 autocast, and fused attention, which keeps
no table of scores. A question about values (is anything padded? is anything packed?) is answered
yes, which in this project's models is the plain case; a number asked for is the length of the
longest item. Attention is counted in full, also where a
kernel skips what a mask hides; Fourier transforms and elementwise work are not counted.
"""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_layers import GradientCheckpointingLayer

Step = Callable[[], Tensor | None]


@dataclass(frozen=True)
class StepCost:
    """One step, forward and backward."""

    flop: int
    peak: int  # bytes held at the worst moment, beside weights, gradients and optimizer
    weight_copies: int  # bytes of it that are weights in bfloat16, of any batch size


def count_step(
    step: Step,
    modules: Sequence[nn.Module],
    *,
    autocast: bool = True,
    recompute: bool = False,
    longest: int = 0,
) -> StepCost:
    """Run a step on the meta device and say what it costs.

    Args:
        step: Returns a scalar to go back from; ``None``: there is no way back.
        modules: What it calls, on the meta device. Every weight that learns is given a gradient.
        autocast: Whether matrices are multiplied in bfloat16.
        recompute: Whether only what enters each transformers layer is kept, and the rest computed
            again on the way back.
        longest: What to answer where a number is asked for: the frames of the longest item.
    """
    memory, kernels = _Memory(_known(modules), longest), _Kernels(autocast)
    layers = transformer_layers(modules) if recompute else []
    with FlopCounterMode(display=False) as counter, memory, _forgetful(layers, kernels):
        with torch.device("meta"), kernels:
            loss = step()
            kernels.forget()
        if loss is not None:
            loss.backward()
    return StepCost(counter.get_total_flops(), memory.peak, kernels.copied)


def transformer_layers(modules: Sequence[nn.Module]) -> list[GradientCheckpointingLayer]:
    """Return the layers whose inside can be forgotten, and sharded one by one."""
    return [
        part
        for module in modules
        for part in module.modules()
        if isinstance(part, GradientCheckpointingLayer)
    ]


@contextmanager
def _forgetful(layers: Sequence[GradientCheckpointingLayer], kernels: "_Kernels") -> Iterator[None]:
    """Let layers forget what is inside them; the second time it is computed by ``kernels`` too."""
    again = partial(
        checkpoint,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _again(kernels)),
    )
    for layer in layers:
        layer.gradient_checkpointing = True
        layer.__dict__["_gradient_checkpointing_func"] = again
    gc.freeze()  # what is older than this step need not be looked through after every layer
    try:
        yield
    finally:
        gc.unfreeze()
        for layer in layers:
            layer.gradient_checkpointing = False


@contextmanager
def _again(kernels: "_Kernels") -> Iterator[None]:
    """Compute a layer the second time; what the first left in circles of references is freed."""
    gc.collect()
    try:
        with kernels:
            yield
    finally:
        kernels.forget()


def _known(modules: Sequence[nn.Module]) -> list[Tensor]:
    """Give every learning weight its gradient, and return what is there before a step."""
    weights = [weight for module in modules for weight in module.parameters()]
    for weight in weights:
        weight.grad = torch.empty_like(weight) if weight.requires_grad else None
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return [*weights, *gradients, *(b for module in modules for b in module.buffers())]


class _Memory(TorchDispatchMode):
    """Watches storages come and go.

    Args:
        known: Tensors that are there before and are not counted.
        longest: What to answer where a number is asked for.
    """

    def __init__(self, known: Sequence[Tensor], longest: int):
        super().__init__()
        self._longest = longest
        self._known = known  # held, so that none of their storages gives its place to another
        self._living: dict[int, Any] = {_place(tensor): None for tensor in known}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True if args[0].dtype is torch.bool else self._longest
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor) and _place(tensor) not in self._living:
                self._born(tensor.untyped_storage())
        return out

    def _born(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        self._living[place] = weakref.ref(storage, lambda _: self._dies(place, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _dies(self, place: int, size: int) -> None:
        del self._living[place]
        self.now -= size


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Kernels(TorchFunctionMode):
    """Autocast to bfloat16, as on a GPU, and attention that keeps no scores."""

    def __init__(self, autocast: bool):
        super().__init__()
        self._autocast = autocast
        self._copies: dict[int, Tensor] = {}
        self._counted: set[int] = set()
        self.copied = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if self._autocast and func in _LOW:
            args, kwargs = tree_map(self._low, (args, kwargs))
        elif self._autocast and func in _HIGH:
            args, kwargs = tree_map(_high, (args, kwargs))
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)

    def forget(self) -> None:
        """Let go of the weights' copies that nothing else holds, as autocast does at its end."""
        self._copies.clear()

    def _low(self, value: object) -> object:
        if not _is_float(value, torch.float32):
            return value
        if not isinstance(value, nn.Parameter):
            return value.to(torch.bfloat16)
        if id(value) not in self._copies:
            copy = self._copies[id(value)] = value.to(torch.bfloat16)
            if id(value) not in self._counted:
                self._counted.add(id(value))
                self.copied += copy.nbytes
        return self._copies[id(value)]


def _high(value: object) -> object:
    return value.float() if _is_float(value, torch.bfloat16) else value


def _is_float(value: object, dtype: torch.dtype) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dtype is dtype


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Attend (B, H, L, D) as a fused kernel; groups of heads share keys without copies."""
    del rest
    groups = query.shape[1] // key.shape[1]
    key, value = (
        x[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) if groups > 1 else x
        for x in (key, value)
    )
    kernel = torch.ops.aten._scaled_dot_product_flash_attention.default
    return kernel(query, key, value, 0.0, False, scale=options.get("scale"))[0]


_LOW = {
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv_transpose1d,
    F.scaled_dot_product_attention,
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    torch.bmm,
    torch.addmm,
}
_HIGH = {
    F.layer_norm,
    F.group_norm,
    F.softmax,
    F.log_softmax,
    F.cross_entropy,
    torch.softmax,
    torch.log_softmax,
    Tensor.softmax,
    Tensor.log_softmax,
    Tensor.exp,
    Tensor.pow,
    Tensor.logsumexp,
}
