"""Many prompts to many continuations at once: the language model behind the synthesis.

Two methods are all that an engine has. :class:`data_synth.local_lm.LocalEngine` runs a network of
transformers in this process; :class:`VllmEngine` runs vLLM on a GPU, and nothing of the training
stack is imported here, so that a step works in vLLM's own environment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from voiceglm.errors import ConfigError, DependencyError, EngineError

Ids = list[int]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How the next id is chosen.

    Attributes:
        temperature: 0 takes the likeliest id.
        top_k: Keep at most this many ids, the likeliest.
        top_p: Of those, keep the likeliest that together reach this share.
        batch_size: Prompts that are continued side by side.
    """

    temperature: float = 0.6
    top_k: int = 50
    top_p: float = 0.9
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ConfigError("choice.temperature must be at least 0, top_p in (0, 1]")
        if self.top_k < 1 or self.batch_size < 1:
            raise ConfigError("choice.top_k and choice.batch_size must be at least 1")


class Engine(Protocol):
    """Continues prompts."""

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new: Sequence[int], seed: int
    ) -> list[Ids]:
        """Continue each prompt.

        Args:
            prompts: Ids, none of them empty.
            max_new: The most ids that each may get.
            seed: The same call gives the same ids.

        Returns:
            In order, what each got, its end included; without an end where ``max_new`` came first.

        Raises:
            EngineError: If the engine is lost; nothing is returned then.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class VllmEngine:
    """vLLM in this process, on its GPUs.

    Args:
        model: A folder in transformers' layout.
        legal: Ids that may come.
        end: The one of them that ends.
        choice: How ids are chosen; vLLM batches as it likes.
        options: More arguments for ``vllm.LLM``.

    Raises:
        DependencyError: If vLLM is not installed here.
    """

    def __init__(
        self, model: str, legal: Sequence[int], end: int, choice: Choice, **options: Any
    ) -> None:
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise DependencyError(
                "the vllm engine needs vLLM, in an environment of its own (docs/data.md, engines)"
            ) from None
        self._vllm = vllm
        self._llm: Any = vllm.LLM(model=model, skip_tokenizer_init=True, **options)
        self._legal, self._end, self._choice = list(legal), end, choice

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new: Sequence[int], seed: int
    ) -> list[Ids]:
        """See :class:`Engine`."""
        settings = [
            self._vllm.SamplingParams(
                temperature=self._choice.temperature,
                top_k=self._choice.top_k,
                top_p=self._choice.top_p,
                max_tokens=most,
                seed=(seed + number) % 2**31,
                stop_token_ids=[self._end],
                allowed_token_ids=self._legal,
                detokenize=False,
            )
            for number, most in enumerate(max_new)
        ]
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        try:
            outputs = self._llm.generate(asked, settings, use_tqdm=False)
        except Exception as error:  # the library raises many kinds when its engine has died
            raise EngineError(f"vLLM failed: {error}") from None
        if len(outputs) != len(prompts):
            raise EngineError(f"vLLM answered {len(outputs)} of {len(prompts)} prompts")
        return [list(output.outputs[0].token_ids) for output in outputs]

    def close(self) -> None:
        """See :class:`Engine`."""
        self._llm = None
