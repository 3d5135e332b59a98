"""Who produces the next ids: ``VoiceLM`` in process, or a server that many processes share.

The server is anything with vLLM's ``/v1/completions``: a list of ids in (``prompt``), a stream of
ids out (``return_token_ids``), cancelled by hanging up. It keeps its own cache of prefixes, so a
conversation is sent whole each time.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
from tokenizers import Tokenizer

from voiceglm.errors import ConfigError, EngineError
from voiceglm.language_model import ReplyCache, Sampling, check_ids, read_language_model
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import TextStream
from voiceglm.vocabulary import Vocabulary

CONNECT_SECONDS = 5.0
SILENT_SECONDS = 60.0  # between two ids, with a queue before the first


class RemoteLM:
    """A language model that runs elsewhere.

    Unlike ``VoiceLM`` it cannot keep the model from writing an id where none of its kind may come;
    ids that are neither text nor speech nor an end are left out, and styles that do not come first.

    Args:
        url: Of the server, up to and without ``/v1``.
        name: What the server calls the model.
        vocabulary: What each id means.
        text_tokenizer: Text to text ids and back.
        prompt_format: The fixed texts it was trained with.
        context_length: The most ids it reads.
        conversation_length: The most ids of a conversation that it holds well.
        key: For servers that want one.
    """

    def __init__(
        self,
        url: str,
        name: str,
        vocabulary: Vocabulary,
        text_tokenizer: Tokenizer,
        prompt_format: PromptFormat,
        *,
        context_length: int,
        conversation_length: int | None = None,
        key: str | None = None,
    ):
        self.vocabulary = vocabulary
        self.context_length = context_length
        self.conversation_length = conversation_length or context_length
        self.writer = PromptWriter(vocabulary, self._encode, prompt_format)
        self._text_tokenizer = text_tokenizer
        self._url, self._name = url, name
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None),
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        url: str,
        *,
        name: str | None = None,
        key: str | None = None,
    ) -> "RemoteLM":
        """Read everything of a model but its weights.

        Args:
            name_or_folder: Of the same model that the server runs.
            url: Of the server.
            name: What the server calls the model; by default what it lists first.
            key: For servers that want one.

        Raises:
            CheckpointError: If the model is unknown or damaged.
            EngineError: If the server cannot be reached.
        """
        config, text_tokenizer, vocabulary, prompt_format = read_language_model(name_or_folder)
        model = cls(
            url,
            name or "",
            vocabulary,
            text_tokenizer,
            prompt_format,
            context_length=config.context_length,
            conversation_length=config.conversation_length,
            key=key,
        )
        model._name = name or model.served()
        return model

    def served(self) -> str:
        """Return the name of the first model that the server lists.

        Raises:
            EngineError: If the server cannot be reached or lists none.
        """
        try:
            response = self._client.get("/v1/models").raise_for_status()
            return str(response.json()["data"][0]["id"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise self._error(error) from None

    def text_stream(self) -> TextStream:
        """Return what turns the text ids of one reply into text as they come."""
        return TextStream(self._text_tokenizer)

    def prefill(self, ids: Sequence[int], cache: ReplyCache) -> None:
        """Have the server read ids ahead of a :meth:`generate` that will go on from them.

        Args:
            ids: The beginning of a conversation.
            cache: Not needed: the server has its own.
        """
        check_ids(ids, self.context_length, self.vocabulary)
        body = self._body(ids, Sampling(temperature=0.0, max_new_ids=1), seed=0, stream=False)
        try:
            self._client.post("/v1/completions", json=body).raise_for_status()
        except httpx.HTTPError as error:
            raise self._error(error) from None

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        cache: ReplyCache | None = None,
        generator: torch.Generator | None = None,
    ) -> Generator[int, None, None]:
        """Continue ``ids``, one id at a time; close the iterator to stop the server.

        Args:
            ids: The whole conversation so far, ending where the reply begins.
            sampling: How ids are chosen; there is one temperature for text and speech.
            cache: Not needed: the server has its own.
            generator: Decides the seed.

        Yields:
            Text and speech ids, behind those of a style if there is one, then the stop id, unless
            the reply was cut.

        Raises:
            ConfigError: If there are no ids, an id is unknown, or no room is left to reply.
            EngineError: If the server cannot be reached, refuses, or breaks off.
        """
        check_ids(ids, self.context_length, self.vocabulary)
        seed = generator.initial_seed() % 2**31 if generator else 0  # nothing is drawn from it
        body = self._body(ids, sampling, seed=seed, stream=True)
        return self._continue(body)

    def _body(
        self, ids: Sequence[int], sampling: Sampling, *, seed: int, stream: bool
    ) -> dict[str, Any]:
        if sampling.speech_temperature is not None:
            raise ConfigError("a remote engine has one temperature for text and speech")
        return {
            "model": self._name,
            "prompt": list(ids),
            "max_tokens": min(sampling.max_new_ids, self.context_length - len(ids)),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "seed": seed,
            "stop_token_ids": list(self.vocabulary.stop_ids),
            "stream": stream,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }

    def _continue(self, body: dict[str, Any]) -> Generator[int, None, None]:
        vocabulary, opening = self.vocabulary, True
        for id_ in self._ids(body):
            if id_ in vocabulary.stop_ids:
                yield id_
                return
            opening = opening and vocabulary.is_style(id_)
            if opening or vocabulary.is_text(id_) or vocabulary.is_speech(id_):
                yield id_

    def _ids(self, body: dict[str, Any]) -> Iterator[int]:
        """Yield every id that the server sends, and an end where it only says that it stopped."""
        try:
            for choice in self._stream(body):
                yield from choice["token_ids"] or ()
                if choice.get("finish_reason") == "stop":
                    yield self.vocabulary.stop_ids[0]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise self._error(error) from None

    def _stream(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._client.stream("POST", "/v1/completions", json=body) as response:
            if response.is_error:
                response.read()
                response.raise_for_status()
            yield from _choices(response.iter_lines())

    def _encode(self, text: str) -> list[int]:
        return self._text_tokenizer.encode(text, add_special_tokens=False).ids

    def _error(self, error: Exception) -> EngineError:
        if isinstance(error, httpx.HTTPStatusError):
            detail = f"{error.response.status_code} {error.response.text.strip()[:200]}"
        elif isinstance(error, httpx.HTTPError):
            detail = str(error) or type(error).__name__
        else:
            detail = f"an answer that is not vLLM's ({type(error).__name__}: {error})"
        return EngineError(f"the engine at {self._url} failed: {detail}")


def _choices(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield what a stream of server-sent events has of the first choice."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise ValueError(event["error"])
        if event["choices"]:
            yield event["choices"][0]
