"""The processes of one training: how many there are, and what they must agree on.

``torchrun`` starts the processes of a run and tells each its rank. A run of one process is a run of
rank 0 of 1, and nothing here does anything then.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


def rank() -> int:
    """Return the number of this process, 0 for the first."""
    return distributed.get_rank() if _joined() else int(os.environ.get("RANK", "0"))


def world() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Say whether this process writes the files that are written once."""
    return rank() == 0


def join() -> torch.device:
    """Meet the other processes, if that was not done; return the device of this one."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world() > 1 and not _joined():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def wait() -> None:
    """Wait until every process of the run is here."""
    if world() > 1:
        join()
        distributed.barrier()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Let the first process through the block before the others, who find what it left behind.

    A file that each would make is made once so. If the first fails, ``torchrun`` ends the others.
    """
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up tensors of one shape over all processes; no gradient passes."""
    total = values.detach().clone()
    if _joined() and world() > 1:
        distributed.all_reduce(total)
    return total


def sum_with_gradient(values: Tensor) -> Tensor:
    """Add up tensors of one shape over all processes; gradients pass to all of them."""
    return all_reduce(values) if _joined() and world() > 1 else values


def mean_over_ranks(total: Tensor, count: Tensor) -> Tensor:
    """Return a mean whose gradients, averaged over the processes, are those of the whole batch.

    Each process has the sum and the number of its own share of a batch. Averaging the shares' own
    means would weigh a process with few items as much as one with many; ``total * world / (sum of
    the counts)`` averages to the mean over all of them, in value and in gradient.

    Args:
        total: (), the sum over what this process has.
        count: (), how many those are, or their total weight; no gradient passes.

    Returns:
        (); zero where there is nothing in any process.
    """
    everywhere = sum_over_ranks(count.to(total.dtype))
    return total * world() / everywhere.clamp(min=1e-6)


def counts_of_ranks(count: int, device: torch.device) -> list[int]:
    """Return the count that each process has, in the order of their ranks."""
    counts = torch.zeros(world(), dtype=torch.long, device=device)
    counts[rank()] = count
    return sum_over_ranks(counts).tolist()


def shared_generator(device: torch.device) -> torch.Generator:
    """Return a generator (on the CPU) that draws the same in every process.

    Its seed is drawn from the first process's global generator, which a resumed run restores.

    Args:
        device: Where the processes exchange tensors.
    """
    seed = torch.randint(2**31, ())
    if rank() > 0:
        seed = torch.zeros_like(seed)
    return torch.Generator().manual_seed(int(sum_over_ranks(seed.to(device))))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of the gradients of all, for loops without DDP."""
    if world() == 1:
        return
    gradients = [each.grad for each in parameters if each.grad is not None]
    flat = sum_over_ranks(torch.cat([gradient.flatten() for gradient in gradients])) / world()
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
