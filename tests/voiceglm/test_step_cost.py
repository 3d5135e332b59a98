"""What a step costs, counted: against formulas, and against a step that is really taken."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from voiceglm.language_config import LanguageModelConfig
from voiceglm.step_cost import count_step, transformer_layers

SIZES = LanguageModelConfig(
    hidden_size=32, num_layers=3, num_heads=4, num_key_value_heads=2, intermediate_size=64
)
ROWS, LENGTH = 96, 48


def meta_network(sizes: LanguageModelConfig = SIZES) -> nn.Module:
    with torch.device("meta"):
        return sizes.network(ROWS).train()


def loss_of(network: nn.Module, batch: int) -> Tensor:
    ids = torch.zeros(batch, LENGTH, dtype=torch.long)
    logits = network(ids, use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())


def test_a_linear_layer_costs_what_the_formula_says() -> None:
    layer = nn.Linear(30, 20, bias=False, device="meta")
    cost = count_step(lambda: layer(torch.zeros(7, 30)).sum(), [layer], autocast=False)
    assert cost.flop == 2 * 2 * 7 * 30 * 20  # forward, and the gradient of the weight
    # At the worst moment: the input, the output's gradient (one number, expanded) and the weight's.
    assert 4 * (7 * 30 + 20 * 30) <= cost.peak <= 4 * (7 * 30 + 2 * 20 * 30 + 2 * 7 * 20 + 2)


def test_a_real_step_is_counted_alike() -> None:
    torch.manual_seed(0)
    real = SIZES.network(ROWS).train()
    with FlopCounterMode(display=False) as counter:
        loss_of(real, 2).backward()
    meta = meta_network()
    cost = count_step(lambda: loss_of(meta, 2), [meta], autocast=False)
    # torch counts no kernel of fused attention on a CPU, so its products come on top of the real:
    # two on the way there, five back (scores once more), of each head and layer.
    product = 2 * 2 * SIZES.num_heads * LENGTH**2 * (SIZES.hidden_size // SIZES.num_heads)
    fused = 7 * SIZES.num_layers * product
    assert cost.flop - counter.get_total_flops() in (0, fused)


def test_costs_grow_with_the_batch_and_nothing_else_does() -> None:
    meta = meta_network()
    one, three = (count_step(lambda n=n: loss_of(meta, n), [meta]) for n in (1, 3))
    assert three.flop == 3 * one.flop
    assert three.weight_copies == one.weight_copies
    rest = (three.peak - three.weight_copies) / (one.peak - one.weight_copies)
    assert 2.5 < rest <= 3.01


def test_every_product_has_a_copy_of_its_weight_in_bfloat16() -> None:
    meta = meta_network()
    maps = sum(
        p.numel() for m in meta.modules() if isinstance(m, nn.Linear) for p in m.parameters()
    )
    cost = count_step(lambda: loss_of(meta, 1), [meta])
    assert cost.weight_copies == 2 * maps
    assert count_step(lambda: loss_of(meta, 1), [meta], autocast=False).weight_copies == 0


def test_layers_computed_twice_hold_less_and_cost_a_forward_pass_more() -> None:
    deep = replace(SIZES, num_layers=12)
    meta = meta_network(deep)
    kept = count_step(lambda: loss_of(meta, 4), [meta])
    again = count_step(lambda: loss_of(meta, 4), [meta], recompute=True)
    forward = count_step(lambda: _without_way_back(meta, 4), [meta])
    head = 2 * 4 * LENGTH * SIZES.hidden_size * ROWS
    assert again.peak < 0.5 * kept.peak
    # The last product of a layer is not needed again, so it may be left out.
    last = 2 * 4 * LENGTH * SIZES.intermediate_size * SIZES.hidden_size * deep.num_layers
    more = again.flop - kept.flop
    assert forward.flop - head - last <= more <= forward.flop - head
    assert not any(layer.gradient_checkpointing for layer in transformer_layers([meta]))


@torch.no_grad()
def _without_way_back(network: nn.Module, batch: int) -> None:
    loss_of(network, batch)


def test_attention_keeps_no_scores() -> None:
    network, length = meta_network(replace(SIZES, num_layers=1)), 2_048

    def step() -> Tensor:
        ids = torch.zeros(1, length, dtype=torch.long)
        return network(ids, use_cache=False, logits_to_keep=1).logits.sum()

    scores = 2 * SIZES.num_heads * length**2
    assert count_step(step, [network]).peak < scores


def test_questions_about_values_are_answered() -> None:
    def step() -> None:
        assert bool(torch.zeros(3).any())
        assert int(torch.zeros(3, dtype=torch.long).max()) == 12

    count_step(step, [], longest=12)


def test_on_the_real_device_nothing_is_answered() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.zeros(3, device="meta").any())
