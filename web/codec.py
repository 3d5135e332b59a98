"""Audio on the wire: base64 of 16-bit PCM at 24 kHz, or of G.711, to and from waveforms.

Both directions resample as a stream, so a recording gives the same samples however it is cut.
"""

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from web.errors import ClientError

HEARD_RATE = 16_000  # hertz, what the models and the voice detector hear
QUALITY = "MQ"  # a delay of 15 ms from 24 to 16 kHz; the default has 37


@dataclass(frozen=True)
class WireFormat:
    """How samples are written."""

    type: str  # as in the protocol
    rate: int  # hertz
    subtype: str  # as libsndfile calls it
    width: int  # bytes of one sample

    def to_json(self) -> dict[str, Any]:
        """Return the protocol's object."""
        return {"type": self.type, **({"rate": self.rate} if self.type == "audio/pcm" else {})}

    def milliseconds(self, num_bytes: int) -> float:
        """Return how long so many bytes sound."""
        return 1000 * num_bytes / (self.width * self.rate)

    def num_bytes(self, milliseconds: float) -> int:
        """Return the bytes of whole samples that fit in a time."""
        return int(milliseconds * self.rate / 1000) * self.width

    def read(self, data: bytes) -> NDArray[np.float32]:
        """Return (num_samples,)."""
        if self.width == 2:
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
        samples, _ = soundfile.read(
            io.BytesIO(data),
            dtype="float32",
            format="RAW",
            subtype=self.subtype,
            channels=1,
            samplerate=self.rate,
        )
        return samples.astype(np.float32, copy=False)

    def write(self, samples: NDArray[np.float32]) -> bytes:
        """Return the bytes of (num_samples,); what leaves [-1, 1] is clipped."""
        clipped = np.clip(samples, -1.0, 32_767 / 32_768)
        if self.width == 2:
            return np.round(clipped * 32_768).astype("<i2").tobytes()
        out = io.BytesIO()
        soundfile.write(out, clipped, self.rate, format="RAW", subtype=self.subtype)
        return out.getvalue()


PCM = WireFormat("audio/pcm", 24_000, "PCM_16", 2)
FORMATS = {
    form.type: form
    for form in (
        PCM,
        WireFormat("audio/pcmu", 8_000, "ULAW", 1),
        WireFormat("audio/pcma", 8_000, "ALAW", 1),
    )
}


def unpack(text: object, form: WireFormat, *, param: str) -> bytes:
    """Return the bytes of base64 text.

    Raises:
        ClientError: If it is no base64, or no whole samples.
    """
    if not isinstance(text, str):
        raise ClientError("invalid_type", f"{param} must be base64 text", param=param)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ClientError("invalid_value", f"{param} is not base64", param=param) from None
    if len(data) % form.width:
        message = f"{param} has {len(data)} bytes, expected whole samples of {form.width}"
        raise ClientError("invalid_value", message, param=param)
    return data


def pack(data: bytes) -> str:
    """Return base64 text."""
    return base64.b64encode(data).decode("ascii")


class Inbound:
    """From the wire to (num_samples,) at 16 kHz, as it comes.

    Args:
        form: What the client writes.
    """

    def __init__(self, form: WireFormat):
        self.form = form
        self._stream = soxr.ResampleStream(form.rate, HEARD_RATE, 1, "float32", QUALITY)

    def push(self, data: bytes) -> Tensor:
        """Return the samples that more bytes make certain."""
        return torch.from_numpy(self._stream.resample_chunk(self.form.read(data)))


class Outbound:
    """From a reply's waveform to the wire, as it comes.

    Args:
        sample_rate: Of the waveform, in hertz.
        form: What the client reads.
    """

    def __init__(self, sample_rate: int, form: WireFormat):
        self._form = form
        self._stream = soxr.ResampleStream(sample_rate, form.rate, 1, "float32", QUALITY)

    def push(self, samples: Tensor, *, last: bool = False) -> bytes:
        """Return the bytes that (num_samples,) more make certain; with ``last`` all of them."""
        chunk = samples.detach().float().cpu().numpy()
        return self._form.write(self._stream.resample_chunk(chunk, last=last))
