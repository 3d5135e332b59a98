"""Speech codes to speech: the flow, the vocoder, and the two together.

Letters used in shapes below:

    N  mel channels, 80
    M  mel frames, 86.13 per second
    P  mel frames of a prompt
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from decoder.config import DecoderConfig
from decoder.convert import is_released, read_released
from decoder.flow_model import FlowModel
from decoder.streaming import DecodeStream, Draws, MelStream, StreamConfig, VocoderStream
from decoder.style import Stretch, amplified
from decoder.vocoder import HiFTGenerator, folded
from decoder.voice import Voice
from voiceglm.checkpoint import load_into, read_config, read_tensors, resolve, write_checkpoint
from voiceglm.config import build
from voiceglm.errors import CheckpointError
from voiceglm.style import Style


@dataclass(frozen=True)
class Prompt:
    """Speech that was already made, which new speech continues."""

    codes: Sequence[int]
    mel: Tensor  # (N, P), log-mel; P is at most the frames its codes stand for


class SpeechDecoder(nn.Module):
    """Speech codes to samples.

    >>> decoder = SpeechDecoder.from_pretrained("nano")  # doctest: +SKIP
    >>> samples = decoder.decode([17, 4, 256])  # doctest: +SKIP
    """

    def __init__(self, flow: FlowModel, vocoder: HiFTGenerator) -> None:
        super().__init__()
        self.config = DecoderConfig(flow=flow.config, vocoder=vocoder.config)
        self.flow = flow
        self.vocoder = folded(vocoder)

    @property
    def sample_rate(self) -> int:
        """Samples per second of what :meth:`decode` returns."""
        return self.config.vocoder.sample_rate

    @property
    def num_codes(self) -> int:
        """Codes are integers in [0, num_codes)."""
        return self.config.flow.num_codes

    @property
    def fingerprint(self) -> str:
        """What tells this decoder from others that do not understand its voices.

        SHA-256 of the weights that read a voice, in the type that models are published in, so that
        it is the same before and after.
        """
        layer = self.flow.spk_embed_affine_layer
        digest = hashlib.sha256()
        for weight in (layer.weight, layer.bias, self.flow.encoder_proj.weight):
            digest.update(weight.detach().cpu().half().numpy().tobytes())
        return digest.hexdigest()

    def check_voice(self, voice: Voice) -> None:
        """Refuse a voice that was not made for this decoder.

        Raises:
            CheckpointError: Naming both.
        """
        if voice.decoder != self.fingerprint:
            raise CheckpointError(
                f"the voice {voice.name} was made for the decoder {voice.decoder[:12]}, "
                f"this one is {self.fingerprint[:12]}; make it again with voiceglm voice add"
            )
        for embedding in (voice.embedding, *voice.tones.values()):
            if len(embedding) != self.config.flow.speaker_dim:
                raise CheckpointError(
                    f"the voice {voice.name} has {len(embedding)} numbers, this decoder reads "
                    f"{self.config.flow.speaker_dim}"
                )

    def in_voice(self, voice: Voice) -> "VoicedDecoder":
        """Return this decoder speaking with a voice; weights are shared.

        Raises:
            CheckpointError: If the voice was made for another decoder.
        """
        return VoicedDecoder(self, voice)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> "SpeechDecoder":
        """Load a decoder, in our layout or as GLM-4-Voice's is released.

        Args:
            name_or_folder: See :func:`voiceglm.checkpoint.resolve`.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        folder = resolve(name_or_folder, "decoder")
        if is_released(folder):
            config, tensors = read_released(folder)
        else:
            config = build(DecoderConfig, read_config(folder), where="decoder")
            tensors = read_tensors(folder)
        decoder = cls(FlowModel(config.flow), HiFTGenerator(config.vocoder))
        load_into(decoder, tensors, where=str(folder))
        return decoder.eval()

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write a checkpoint that :meth:`from_pretrained` reads, its weights in ``dtype``."""
        weights = {name: weight.to(dtype) for name, weight in self.state_dict().items()}
        write_checkpoint(folder, asdict(self.config), weights)

    @torch.inference_mode()
    def mel(
        self,
        ids: Sequence[int],
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        prompt: Prompt | None = None,
        voice: Voice | None = None,
    ) -> Tensor:
        """Turn codes into a log-mel: (N, M), the frames of the prompt left out.

        Args:
            ids: Codes.
            noise: (N, M), standard normal, prompt frames included.
            generator: Where noise comes from if none is given; a fresh one seeded 0 if ``None``.
            prompt: Speech to continue.
            voice: Who speaks; ``None`` for the default voice.

        Raises:
            AudioError: If an id is not a code of this decoder.
        """
        parameter = self.flow.encoder_proj.weight
        given = [] if prompt is None else prompt.codes
        if not ids:
            return parameter.new_zeros(self.config.flow.num_mels, 0)
        codes = self.flow.check([*given, *ids]).to(parameter.device)
        code_lengths = torch.tensor([len(codes)], device=parameter.device)
        if noise is None:
            noise = self.flow.draw_noise(int(self.flow.num_frames(code_lengths)), generator)
        prompt_mel = None if prompt is None else prompt.mel.to(parameter)[None]
        mel = self.flow.sample(
            codes[None],
            code_lengths,
            noise.to(parameter)[None],
            prompt=prompt_mel,
            speaker=None if voice is None else voice.vector().to(parameter),
        )
        return mel[0] if prompt is None else mel[0, :, prompt.mel.shape[-1] :]

    def decode(
        self,
        ids: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        voice: Voice | None = None,
        style: Style | None = None,
    ) -> Tensor:
        """Speak codes: (num_samples,), float32 in [-1, 1].

        Args:
            ids: Codes, 12.5 per second.
            generator: Where noise and phases come from; a fresh one seeded 0 if ``None``.
            voice: Who speaks; ``None`` for the default voice.
            style: How; a tone that the voice lacks and every accent change nothing.

        Raises:
            AudioError: If an id is not a code of this decoder.
        """
        draws, style = Draws.of(generator), style or Style()
        mel = self.mel(ids, generator=draws.mel, voice=voice and voice.in_tone(style.tone))
        mel = Stretch(style.speed).push(mel, last=True)
        if mel.shape[-1] == 0:
            return mel.new_zeros(0)
        with torch.inference_mode():
            samples = self.vocoder(mel[None], generator=draws.source)[0]
        return amplified(samples, style.gain, self.config.vocoder.audio_limit)

    def start(
        self,
        *,
        generator: torch.Generator | None = None,
        config: StreamConfig | None = None,
        voice: Voice | None = None,
        style: Style | None = None,
    ) -> DecodeStream:
        """Begin to speak codes that are still being written.

        Args:
            generator: Where noise and phases come from; a fresh one seeded 0 if ``None``.
            config: How codes are cut into chunks.
            voice: Who speaks; ``None`` for the default voice.
            style: How, see :meth:`decode`; the stream can still be told more.
        """
        draws = Draws.of(generator)
        mel = MelStream(self.flow, draws.mel, config or StreamConfig())
        return DecodeStream(mel, VocoderStream(self.vocoder, draws.source), voice, style)


class VoicedDecoder:
    """A decoder that speaks with a voice of its own; several share one decoder.

    Args:
        decoder: What is shared.
        voice: Who speaks.

    Raises:
        CheckpointError: If the voice was made for another decoder.
    """

    def __init__(self, decoder: SpeechDecoder, voice: Voice) -> None:
        decoder.check_voice(voice)
        self.decoder = decoder
        self.voice = voice

    @property
    def sample_rate(self) -> int:
        """Samples per second of what :meth:`decode` returns."""
        return self.decoder.sample_rate

    def decode(
        self,
        ids: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        style: Style | None = None,
    ) -> Tensor:
        """Speak codes, see :meth:`SpeechDecoder.decode`."""
        return self.decoder.decode(ids, generator=generator, voice=self.voice, style=style)

    def start(
        self,
        *,
        generator: torch.Generator | None = None,
        config: StreamConfig | None = None,
        style: Style | None = None,
    ) -> DecodeStream:
        """Begin to speak codes, see :meth:`SpeechDecoder.start`."""
        return self.decoder.start(generator=generator, config=config, voice=self.voice, style=style)


def shared_decoder(speaker: object) -> SpeechDecoder:
    """Return the decoder of what ``load_chat`` speaks with, in whichever voice."""
    decoder = speaker.decoder if isinstance(speaker, VoicedDecoder) else speaker
    assert isinstance(decoder, SpeechDecoder), "load_chat gives a SpeechDecoder, or one in a voice"
    return decoder
