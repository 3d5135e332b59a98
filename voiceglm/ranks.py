"""The processes of one training: how many there are, and what they must agree on.

``torchrun`` starts the processes of a run and tells each its rank. A run of one process is a run of
rank 0 of 1, and nothing here does anything then.
"""

import os

import torch
import torch.distributed as distributed
from torch import Tensor


def rank() -> int:
    """Return the number of this process, 0 for the first."""
    return distributed.get_rank() if _joined() else int(os.environ.get("RANK", "0"))


def world() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Say whether this process writes the files that are written once."""
    return rank() == 0


def wait() -> None:
    """Wait until every process of the run is here; joins them if need be."""
    if world() > 1:
        _join()
        distributed.barrier()


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up tensors of one shape over all processes; no gradient passes."""
    total = values.detach().clone()
    if _joined() and world() > 1:
        distributed.all_reduce(total)
    return total


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


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _join() -> None:
    if not _joined():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
