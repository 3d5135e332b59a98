"""What a recipe would cost, without its data, its weights or a GPU.

Each stage is built on the meta device, one step of it is counted (``voiceglm.step_cost``) and
multiplied by its steps. Memory is that of the GPU that has most to hold:

- weights, gradients and AdamW's two averages in float32, 16 bytes a parameter (Muon keeps one, 12
  bytes); with FSDP2 each GPU holds its part of them, with DDP all, and gradients a second time in
  the buckets they travel in;
- weights in bfloat16: all of them under autocast; with FSDP2 those gathered at one time (what lies
  outside the layers, and two layers), and as much for their gradients;
- the most that a batch holds at once, activations, logits and all.

A tenth of a GPU is left to the CUDA context, workspaces and fragmentation.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from decoder.train_vocoder import VocoderTrainConfig
from voiceglm.errors import ConfigError
from voiceglm.optimizers import hidden_matrices
from voiceglm.recipe_config import Machine, RecipeConfig, Sharding
from voiceglm.step_cost import StepCost, count_step, transformer_layers
from voiceglm.train_config import TrainConfig
from voiceglm.workloads import Phase, Workload, workloads

USABLE = 0.9  # of a GPU's memory
GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: float
    gradients: float
    optimizer: float
    bfloat16_weights: float
    batch: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stage is spread over memory."""

    sharding: Sharding
    recompute: bool
    batches_per_step: int
    items: float
    """In a batch, over all GPUs."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one stage costs."""

    stage: str
    parts: dict[str, int]
    """Parameters, codebooks among them."""
    trainable: int
    """Parameters that learn; 0 in a stage that only computes."""
    steps: int
    epochs: float
    amount: float
    """Ids, or seconds of speech, over all steps."""
    unit: str
    plan: Plan
    items_per_gpu: float
    """In a batch."""
    flop: float
    hours: float
    gpu_hours: float
    memory: Memory
    fits: bool
    advice: str
    """What to do if it does not fit."""
    disk: float
    """Bytes: three checkpoints at once, and the model in float16."""

    @property
    def parameters(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())


def dry_run(
    recipe: RecipeConfig,
    machine: Machine,
    sharding: Sharding | None = None,
    only: Collection[str] = (),
) -> Iterator[Estimate]:
    """Estimate every stage that computes, in order.

    Args:
        recipe: Its stages and how much data they expect.
        machine: What they run on.
        sharding: Instead of what the recipe says, for the stages that can be sharded.
        only: Names of stages; empty: all of them.

    Raises:
        ConfigError: If the recipe leaves open how much data a stage sees, or cannot be built.
    """
    left = set(only)
    for workload in workloads(recipe):
        if not only or workload.name in left:
            left.discard(workload.name)
            yield _estimate(workload, machine, sharding)
    if left:
        raise ConfigError(f"the dry run of {recipe.name} has no stage called {min(left)!r}")


def _estimate(workload: Workload, machine: Machine, sharding: Sharding | None) -> Estimate:
    counter = _Counter(workload, machine)
    plan = _plan(workload, sharding)
    flop = sum(
        phase.steps * plan.batches_per_step * counter.flop_per_item(phase, plan) * plan.items
        for phase in workload.phases
    )
    items = workload.steps * plan.batches_per_step * plan.items
    busy = max(1.0, min(counter.gpus, plan.items)) if workload.train else machine.gpus
    seconds = flop / (busy * machine.gpu_tflops * 1e12 * machine.utilisation)
    if workload.ids_per_second is not None:
        seconds = items * workload.units / (machine.gpus * workload.ids_per_second)
    memory = counter.memory(plan)
    fits = memory.total <= USABLE * machine.gpu_memory * GB
    return Estimate(
        stage=workload.name,
        parts=dict(workload.parts),
        trainable=_trainable(workload) if workload.train else 0,
        steps=workload.steps,
        epochs=workload.epochs,
        amount=items * workload.units,
        unit=workload.unit,
        plan=plan,
        items_per_gpu=counter.items_per_gpu(plan),
        flop=flop,
        hours=seconds / 3600,
        gpu_hours=seconds / 3600 * counter.gpus,
        memory=memory,
        fits=fits,
        advice="" if fits else _advice(workload, counter, plan),
        disk=_disk(workload),
    )


def _plan(workload: Workload, sharding: Sharding | None) -> Plan:
    train = workload.train
    asked, recompute = "none", False
    if isinstance(train, TrainConfig):
        asked, recompute = train.sharding, train.recompute
    if sharding is None:
        sharding = "fsdp" if asked == "fsdp" else "ddp"
    return Plan(
        sharding=sharding if workload.shards and workload.train else "ddp",
        recompute=recompute,
        batches_per_step=workload.batches_per_step,
        items=workload.items,
    )


class _Counter:
    """Counts steps of a workload under different plans, each kind of step once.

    Args:
        workload: The stage.
        machine: What it runs on.
    """

    def __init__(self, workload: Workload, machine: Machine):
        self.workload, self.machine = workload, machine
        self.gpus = machine.gpus
        self._costs: dict[tuple[Any, ...], StepCost] = {}

    def items_per_gpu(self, plan: Plan) -> float:
        """Return the items of a batch that the fullest GPU has; what learns nothing takes one."""
        if self.workload.train is None:
            return 1
        return max(1.0, plan.items / self.gpus)

    def flop_per_item(self, phase: Phase, plan: Plan) -> float:
        """Return the operations of one item."""
        return self._cost(phase, plan).flop / self._counted(plan)

    def memory(self, plan: Plan) -> Memory:
        """Return what the fullest GPU holds in the worst of the phases."""
        workload, gpus = self.workload, self.gpus
        sharded = plan.sharding == "fsdp"
        share = gpus if sharded else 1
        batch = copies = 0.0
        for phase in workload.phases:
            if not phase.steps:
                continue
            cost = self._cost(phase, plan)
            copies = max(copies, cost.weight_copies)
            scale = self.items_per_gpu(plan) / self._counted(plan)
            batch = max(batch, (cost.peak - cost.weight_copies) * scale)
        learning = _trainable(workload) if workload.train else 0
        buckets = 2 if gpus > 1 and not sharded else 1
        return Memory(
            weights=_held(workload) / share,
            gradients=4.0 * learning * buckets / share,
            optimizer=_optimizer(workload) / share,
            bfloat16_weights=_gathered(workload.modules) if sharded else copies,
            batch=batch,
        )

    def _counted(self, plan: Plan) -> int:
        """Return the items of the step that is counted: one, where a batch can be scaled."""
        return 1 if self.workload.splits else math.ceil(self.items_per_gpu(plan))

    def _cost(self, phase: Phase, plan: Plan) -> StepCost:
        low = plan.sharding == "fsdp"
        key = (id(phase), low, plan.recompute, self._counted(plan))
        if key not in self._costs:
            self._costs[key] = self._count(phase, plan, low)
        return self._costs[key]

    def _count(self, phase: Phase, plan: Plan, low: bool) -> StepCost:
        workload, train = self.workload, self.workload.train
        batch = self._counted(plan)
        for module in workload.modules:
            module.to(torch.bfloat16 if low else torch.float32)
        return count_step(
            lambda: phase.loss(batch),
            workload.modules,
            autocast=not low and (train is None or train.precision != "float32"),
            recompute=plan.recompute,
            longest=workload.longest,
        )


def _trainable(workload: Workload) -> int:
    return sum(
        weight.numel()
        for module in workload.modules
        for weight in module.parameters()
        if weight.requires_grad
    )


def _held(workload: Workload) -> float:
    """Return the bytes of weights and buffers in float32."""
    return 4.0 * sum(
        tensor.numel()
        for module in workload.modules
        for tensor in (*module.parameters(), *module.buffers())
    )


def _optimizer(workload: Workload) -> float:
    """Return the bytes of what the optimizer keeps."""
    train = workload.train
    if train is None:
        return 0.0
    states = 8.0 * _trainable(workload)
    if isinstance(train, TrainConfig) and train.muon_lr is not None:
        by_muon = (hidden_matrices(module) for module in workload.modules)
        states -= 4.0 * sum(weight.numel() for weights in by_muon for weight in weights)
    return states


def _gathered(modules: Sequence[nn.Module]) -> float:
    """Return the bytes of whole weights in bfloat16, and of their gradients, with FSDP2."""
    layers = [sum(w.numel() for w in layer.parameters()) for layer in transformer_layers(modules)]
    everything = sum(weight.numel() for module in modules for weight in module.parameters())
    return 2 * 2.0 * (everything - sum(layers) + 2 * max(layers, default=0))


def _disk(workload: Workload) -> float:
    if workload.train is None:
        return 0.0
    kept = 2 if isinstance(workload.train, VocoderTrainConfig) else 3
    return kept * (_held(workload) + _optimizer(workload)) + _held(workload) / 2


def _advice(workload: Workload, counter: _Counter, plan: Plan) -> str:
    """Return the first remedy that makes a stage fit, the cheapest in time first."""
    limit, gpus = USABLE * counter.machine.gpu_memory * GB, counter.gpus
    for settings, changed in _remedies(workload, plan, gpus):
        if counter.memory(changed).total <= limit:
            return f"it fits with {settings}"
    return "it fits with no setting: take GPUs of more memory, or more of them"


def _remedies(workload: Workload, plan: Plan, gpus: int) -> Iterator[tuple[str, Plan]]:
    """Yield settings and the plans they make."""
    forgetful = bool(transformer_layers(workload.modules)) and not plan.recompute
    kinds: list[tuple[list[str], Plan]] = [([], plan)]
    if forgetful:
        kinds.append((["train.recompute=true"], replace(plan, recompute=True)))
    if workload.shards and gpus > 1 and plan.sharding == "ddp":
        kinds += [
            ([*names, "train.sharding=fsdp"], replace(kind, sharding="fsdp"))
            for names, kind in list(kinds)
        ]
    for names, kind in kinds:
        if names:
            yield " and ".join(names), kind
        yield from _smaller(workload, names, kind, gpus)


def _smaller(
    workload: Workload, names: list[str], plan: Plan, gpus: int
) -> Iterator[tuple[str, Plan]]:
    """Yield plans of smaller batches, down to one item on each GPU."""
    parts = 1
    while workload.splits and plan.items / (2 * parts) >= gpus:
        parts *= 2
        count = plan.batches_per_step * parts
        setting = f"train.accumulate={count}"
        if workload.unit == "ids":
            ids = round(plan.items * workload.units / parts)
            setting += f" and objective.plan.ids_per_batch={ids}"
        smaller = replace(plan, batches_per_step=count, items=plan.items / parts)
        yield " and ".join([*names, setting]), smaller
