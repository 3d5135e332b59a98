"""Conditional flow matching: a path from noise to data, its loss, and a solver.

Letters used in shapes below:

    B  batch
    C  channels of the data
    K  channels of the condition
    M  frames

Along the path ``y(t) = (1 - (1 - sigma) t) z + t x`` the velocity is ``x - (1 - sigma) z``
(Lipman et al. 2023, equations 20 to 23). A network learns it; the solver follows it from noise
at t = 0 to data at t = 1. Nothing here knows what the data are.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from voiceglm.ranks import mean_over_ranks


@dataclass(frozen=True)
class FlowDraws:
    """Every random number of one training step."""

    time: Tensor  # (B,), uniform in [0, 1)
    noise: Tensor  # (B, C, M), standard normal
    hidden: Tensor  # (B,), True where the condition is hidden


def cosine_schedule(uniform: Tensor) -> Tensor:
    """Bend times in [0, 1] so that the early path is walked in smaller steps."""
    return 1 - torch.cos(uniform * (0.5 * math.pi))


class ConditionalFlow(nn.Module):
    """Learns and follows the velocity from noise to data.

    Args:
        estimator: Called with x (B, C, M), mask (B, 1, M) or ``None``, condition (B, K, M)
            and time (B,); returns a velocity (B, C, M), zero where masked.
        num_steps: Euler steps of the solver.
        guidance: Strength g of classifier-free guidance, velocity (1 + g) v(condition) - g v(0)
            (Ho and Salimans 2022, equation 6).
        sigma_min: Noise left at the end of the path.
        guess_std: If given, the first C channels of the condition are a guess at the data, off
            by about this much; the estimator then only learns what is left to say, see
            :meth:`_start_from_guess`.
    """

    def __init__(
        self,
        estimator: nn.Module,
        *,
        num_steps: int,
        guidance: float,
        sigma_min: float,
        guess_std: float | None = None,
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.num_steps = num_steps
        self.guidance = guidance
        self.sigma_min = sigma_min
        self.guess_std = guess_std

    def point(self, data: Tensor, noise: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point of the path at ``time`` (B,) and its velocity, both (B, C, M)."""
        rest = 1 - self.sigma_min
        t = time[:, None, None].to(data.dtype)
        return (1 - rest * t) * noise + t * data, data - rest * noise

    def loss(
        self, data: Tensor, mask: Tensor | None, condition: Tensor, draws: FlowDraws
    ) -> Tensor:
        """Return the mean squared error of the velocity over unmasked frames: ().

        Args:
            data: (B, C, M).
            mask: (B, 1, M), 1 where a frame is real; ``None`` if every frame is.
            condition: (B, K, M).
            draws: The random numbers of the step.
        """
        time = cosine_schedule(draws.time)
        y, velocity = self.point(data, draws.noise, time)
        condition = condition.masked_fill(draws.hidden[:, None, None], 0.0)
        error = (self._estimate(y, mask, condition, time) - velocity).float().square()
        if mask is None:
            mask = error.new_ones(1).expand(len(data), 1, data.shape[-1])
        return mean_over_ranks((error * mask).sum(), mask.sum() * data.shape[1])

    def velocity(self, x: Tensor, mask: Tensor | None, condition: Tensor, time: Tensor) -> Tensor:
        """Return the guided velocity at x, both (B, C, M), in one call of the estimator."""
        if self.guidance == 0:
            return self._estimate(x, mask, condition, time)
        twice = torch.cat([condition, torch.zeros_like(condition)])
        both = None if mask is None else mask.repeat(2, 1, 1)
        out = self._estimate(x.repeat(2, 1, 1), both, twice, time.repeat(2))
        with_condition, without = out.chunk(2)
        return torch.lerp(without, with_condition, 1 + self.guidance)

    def solve(self, noise: Tensor, mask: Tensor | None, condition: Tensor) -> Tensor:
        """Follow the flow from noise to data: (B, C, M) -> (B, C, M).

        Args:
            noise: (B, C, M), standard normal.
            mask: (B, 1, M), 1 where a frame is real; ``None`` if every frame is.
            condition: (B, K, M).
        """
        times = cosine_schedule(torch.linspace(0, 1, self.num_steps + 1))
        x = noise
        for now, after in pairwise(times.tolist()):
            time = torch.full((len(x),), now, device=x.device)
            x = x + (after - now) * self.velocity(x, mask, condition, time)
        return x

    def _estimate(self, x: Tensor, mask: Tensor | None, condition: Tensor, time: Tensor) -> Tensor:
        out = self.estimator(x, mask, condition, time)
        if self.guess_std is None:
            return out
        return self._start_from_guess(out, x, condition[:, : x.shape[1]], time)

    def _start_from_guess(self, out: Tensor, x: Tensor, guess: Tensor, time: Tensor) -> Tensor:
        """Add the velocity that would be right if the data were Gaussian around the guess.

        For data = guess + s e and x = (1 - t) z + t data, with e and z standard normal, the
        expected velocity is guess - (x - t guess) ((1 - t) - t s^2) / d, and what it misses has
        the variance s^2 / d, where d = (1 - t)^2 + t^2 s^2. The estimator's output is given that
        variance (the preconditioning of Karras et al. 2022, section 5, on this path).
        """
        assert self.guess_std is not None, "only called with a guess"
        t, variance = time[:, None, None].to(x.dtype), self.guess_std**2
        spread = (1 - t).square() + t.square() * variance
        expected = guess - (x - t * guess) * (1 - t - t * variance) / spread
        return expected + out * (variance / spread).sqrt()
