"""The path, the loss and the solver, on flows whose answer is known."""

import math

import torch
from torch import Tensor, nn

from decoder.flow import ConditionalFlow, FlowDraws, cosine_schedule


class Known(nn.Module):
    """Knows the data: its condition. Its velocity is exact on the whole path."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: Tensor, mask: Tensor | None, condition: Tensor, time: Tensor) -> Tensor:
        del mask
        self.calls.append(len(x))
        return (condition - x) / (1 - time[:, None, None])


class Zero(nn.Module):
    """Knows nothing."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return torch.zeros_like(x)


def make(
    estimator: nn.Module,
    *,
    guidance: float = 0.0,
    num_steps: int = 10,
    guess_std: float | None = None,
) -> ConditionalFlow:
    """Wrap an estimator."""
    return ConditionalFlow(
        estimator,
        num_steps=num_steps,
        guidance=guidance,
        sigma_min=1e-6,
        guess_std=guess_std,
    )


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers from a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_known_flow_ends_at_the_data() -> None:
    data, noise = randn(2, 3, 5), randn(2, 3, 5, seed=1)
    for num_steps in (1, 4, 10):
        out = make(Known(), num_steps=num_steps).solve(noise, None, data)
        torch.testing.assert_close(out, data, rtol=0, atol=1e-5)


def test_the_known_velocity_has_no_loss() -> None:
    flow, data = make(Known()), randn(4, 3, 5)
    time = torch.tensor([0.1, 0.4, 0.7, 0.9])
    shown = FlowDraws(time, randn(4, 3, 5, seed=2), torch.zeros(4, dtype=torch.bool))
    assert float(flow.loss(data, None, data, shown)) < 1e-8


def test_path_runs_from_noise_to_data() -> None:
    flow, data, noise = make(Known()), randn(2, 3, 5), randn(2, 3, 5, seed=1)
    start, velocity = flow.point(data, noise, torch.zeros(2))
    end, _ = flow.point(data, noise, torch.ones(2))
    torch.testing.assert_close(start, noise)
    torch.testing.assert_close(end, data, rtol=0, atol=1e-5)
    torch.testing.assert_close(velocity, data - noise, rtol=0, atol=1e-5)


def test_loss_leaves_padding_out() -> None:
    flow, data, noise = make(Zero()), randn(1, 3, 6), randn(1, 3, 6, seed=1)
    mask = torch.tensor([[[1.0, 1, 1, 1, 0, 0]]])
    draws = FlowDraws(torch.tensor([0.3]), noise, torch.tensor([False]))
    expected = (data - noise)[..., :4].square().mean()
    loss = flow.loss(data, mask, data, draws)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


def test_hidden_items_see_no_condition() -> None:
    class Spy(nn.Module):
        def forward(self, x: Tensor, mask: Tensor, condition: Tensor, time: Tensor) -> Tensor:
            del mask, time
            self.seen = condition
            return x

    spy, data = Spy(), randn(2, 3, 5)
    draws = FlowDraws(torch.rand(2), randn(2, 3, 5), torch.tensor([True, False]))
    make(spy).loss(data, None, data, draws)
    assert bool((spy.seen[0] == 0).all())
    assert torch.equal(spy.seen[1], data[1])


def test_guidance_is_one_call_and_pushes_away_from_nothing() -> None:
    estimator = Known()
    flow = make(estimator, guidance=0.7)
    x, condition, time = randn(2, 3, 5), randn(2, 3, 5, seed=1), torch.tensor([0.2, 0.4])
    velocity = flow.velocity(x, None, condition, time)
    assert estimator.calls == [4]
    zero = torch.zeros_like(condition)
    expected = 1.7 * estimator(x, None, condition, time) - 0.7 * estimator(x, None, zero, time)
    torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-5)


def test_schedule() -> None:
    times = cosine_schedule(torch.tensor([0.0, 0.5, 1.0]))
    expected = torch.tensor([0.0, 1 - math.sqrt(0.5), 1.0])
    torch.testing.assert_close(times, expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_guess_leaves_only_what_it_cannot_know() -> None:
    std = 0.6
    flow = make(Zero(), guess_std=std)
    guess = randn(4, 1, 50_000)
    data, noise = guess + std * randn(4, 1, 50_000, seed=1), randn(4, 1, 50_000, seed=2)
    time = torch.tensor([0.0, 0.3, 0.7, 1.0])
    x, velocity = flow.point(data, noise, time)
    missed = velocity - flow.velocity(x, None, guess, time)
    t = time[:, None]
    known = (x - time[:, None, None] * guess)[:, 0]
    assert float((missed[:, 0] * known).mean(-1).abs().max()) < 0.03  # nothing more to be had
    expected = std**2 / ((1 - t).square() + t.square() * std**2)
    torch.testing.assert_close(
        missed[:, 0].square().mean(-1, keepdim=True), expected, rtol=0.05, atol=0
    )


def test_a_guess_that_is_right_is_reached() -> None:
    data = randn(1, 3, 5)
    out = make(Zero(), num_steps=100, guess_std=0.01).solve(randn(1, 3, 5, seed=1), None, data)
    torch.testing.assert_close(out, data, rtol=0, atol=0.1)
