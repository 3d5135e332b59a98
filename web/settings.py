"""The settings of a session: what a client may ask for, and what it gets.

A key that is absent stays as it is, ``null`` switches it off. What this server cannot do (another
speed, a voice of OpenAI's) is accepted and answered with what it does instead, because clients
treat an error as the end; what would garble the conversation (an unknown format, a name of the beta
protocol) or is meant for this server and wrong (a voice it does not have) is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from web.codec import FORMATS, PCM, WireFormat
from web.errors import ClientError
from web.turns import EAGERNESS_MS, TurnDetection

BETA_KEYS = {  # of the protocol as it was before general availability
    "modalities",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "max_response_output_tokens",
}
FOREIGN_VOICES = {  # OpenAI's, which clients ask for unasked
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
}
MAX_INSTRUCTIONS = 100_000  # characters
TRANSCRIPTION_KEYS = ("model", "language", "prompt")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is in force. Every change makes a new one."""

    model: str
    voice: str
    voices: tuple[str, ...] = ()
    """Further ones that may be asked for."""
    can_transcribe: bool = False
    instructions: str = ""
    output_modalities: tuple[str, ...] = ("audio",)
    max_output_tokens: int | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str = "auto"
    tracing: Any = None
    truncation: Any = "auto"
    input_format: WireFormat = PCM
    output_format: WireFormat = PCM
    noise_reduction: Any = None
    transcription: Mapping[str, Any] | None = None
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)

    @property
    def speaks(self) -> bool:
        """Whether replies are spoken, not only written."""
        return "audio" in self.output_modalities

    def to_json(self) -> dict[str, Any]:
        """Return the protocol's session, without its identity."""
        detection = self.turn_detection
        return {
            "type": "realtime",
            "model": self.model,
            "output_modalities": list(self.output_modalities),
            "instructions": self.instructions,
            "tools": [dict(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
            "max_output_tokens": self.max_output_tokens or "inf",
            "tracing": self.tracing,
            "truncation": self.truncation,
            "prompt": None,
            "audio": {
                "input": {
                    "format": self.input_format.to_json(),
                    "transcription": self.transcription and dict(self.transcription),
                    "noise_reduction": self.noise_reduction,
                    "turn_detection": detection and detection_json(detection),
                },
                "output": {
                    "format": self.output_format.to_json(),
                    "voice": self.voice,
                    "speed": 1.0,
                },
            },
        }


def detection_json(detection: TurnDetection) -> dict[str, Any]:
    """Return the protocol's turn detection."""
    shared = {
        "type": detection.type,
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.type == "semantic_vad":
        return {**shared, "eagerness": detection.eagerness}
    return {
        **shared,
        "threshold": detection.threshold,
        "prefix_padding_ms": detection.prefix_padding_ms,
        "silence_duration_ms": detection.silence_duration_ms,
        "idle_timeout_ms": detection.idle_timeout_ms,
    }


def update(settings: Settings, asked: Mapping[str, Any], *, where: str = "session") -> Settings:
    """Return the settings after a ``session.update``, or those of one response.

    Raises:
        ClientError: If a value cannot be used; nothing is changed then.
    """
    if beta := sorted(BETA_KEYS & asked.keys()):
        message = f"unknown parameter {where}.{beta[0]}: it belongs to the beta protocol"
        raise ClientError("unknown_parameter", message, param=f"{where}.{beta[0]}")
    changes: dict[str, Any] = {}
    for key, read in _READERS.items():
        if key in asked:
            changes[key] = read(asked[key], f"{where}.{key}")
    audio = read_object(asked.get("audio") or {}, f"{where}.audio")
    heard = read_object(audio.get("input") or {}, f"{where}.audio.input")
    spoken = read_object(audio.get("output") or {}, f"{where}.audio.output")
    if "format" in heard:
        changes["input_format"] = _format(heard["format"], f"{where}.audio.input.format")
    if "format" in spoken:
        changes["output_format"] = _format(spoken["format"], f"{where}.audio.output.format")
    if spoken.get("voice") is not None:
        changes["voice"] = _voice(settings, spoken["voice"], f"{where}.audio.output.voice")
    if "noise_reduction" in heard:
        changes["noise_reduction"] = heard["noise_reduction"]
    if "transcription" in heard and settings.can_transcribe:
        changes["transcription"] = _transcription(
            heard["transcription"], f"{where}.audio.input.transcription"
        )
    if "turn_detection" in heard:
        changes["turn_detection"] = _detection(
            settings.turn_detection,
            heard["turn_detection"],
            f"{where}.audio.input.turn_detection",
        )
    return replace(settings, **changes)


def _detection(current: TurnDetection | None, asked: object, where: str) -> TurnDetection | None:
    if asked is None:
        return None
    values = read_object(asked, where)
    kind = values.get("type", current.type if current else "server_vad")
    if kind not in ("server_vad", "semantic_vad"):
        raise ClientError(
            "invalid_value",
            f"{where}.type must be server_vad or semantic_vad, got {kind!r}",
            param=f"{where}.type",
        )
    base = current if current and current.type == kind else TurnDetection(type=kind)
    changes = {}
    for spec in fields(TurnDetection):
        value = values.get(spec.name)
        if spec.name == "type" or spec.name not in values:
            continue
        if value is None:  # off where it can be, as it was by default where not
            value = spec.default
        changes[spec.name] = _detail(spec.name, value, f"{where}.{spec.name}")
    return replace(base, **changes)


_LIMITS = {  # of numbers
    "threshold": (0.0, 1.0),
    "prefix_padding_ms": (0, 5_000),
    "silence_duration_ms": (32, 30_000),
    "idle_timeout_ms": (5_000, 30_000),
}


def _detail(name: str, value: Any, where: str) -> Any:
    if name in _LIMITS:
        low, high = _LIMITS[name]
        if value is None:
            return None
        number = _number(value, where)
        if not low <= number <= high:
            raise ClientError(
                "invalid_value", f"{where} must be {low} to {high}, got {value}", param=where
            )
        return number if name == "threshold" else round(number)
    if name == "eagerness":
        if not isinstance(value, str) or value not in EAGERNESS_MS:
            raise ClientError(
                "invalid_value", f"{where} must be one of {sorted(EAGERNESS_MS)}", param=where
            )
        return value
    if not isinstance(value, bool):
        raise ClientError("invalid_type", f"{where} must be true or false", param=where)
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
        raise ClientError("invalid_type", f"{where} must be a number, got {value!r}", param=where)
    return value


def read_object(value: object, where: str) -> Mapping[str, Any]:
    """Return an object of a client's.

    Raises:
        ClientError: If it is none.
    """
    if not isinstance(value, Mapping):
        raise ClientError("invalid_type", f"{where} must be an object", param=where)
    return value


def _format(value: object, where: str) -> WireFormat:
    kind = value if isinstance(value, str) else read_object(value, where).get("type")
    form = FORMATS.get(str(kind))
    if form is None:
        raise ClientError(
            "invalid_value",
            f"{where}.type must be one of {sorted(FORMATS)}, got {kind!r}",
            param=f"{where}.type",
        )
    rate = value.get("rate") if isinstance(value, Mapping) else None
    if rate not in (None, form.rate):
        raise ClientError(
            "invalid_value",
            f"{where}.rate of {kind} must be {form.rate}, got {rate!r}",
            param=f"{where}.rate",
        )
    return form


def _voice(settings: Settings, asked: object, where: str) -> str:
    """Return the voice that speaks when a client asks for one."""
    name = asked.get("id") if isinstance(asked, Mapping) else asked
    known = list(dict.fromkeys([settings.voice, settings.model, *settings.voices]))
    if name in known:
        return str(name)
    if isinstance(name, str) and name in FOREIGN_VOICES:
        return settings.voice
    message = f"{where} {name!r} is not known; expected one of {known}"
    raise ClientError("invalid_value", message, param=where)


def _transcription(value: object, where: str) -> Mapping[str, Any] | None:
    if value is None:
        return None
    asked = read_object(value, where)
    return {key: asked[key] for key in TRANSCRIPTION_KEYS if asked.get(key) is not None}


def _text(value: object, where: str) -> str:
    text = "" if value is None else value
    if not isinstance(text, str) or len(text) > MAX_INSTRUCTIONS:
        raise ClientError(
            "invalid_value", f"{where} must be text of at most {MAX_INSTRUCTIONS}", param=where
        )
    return text


def _modalities(value: object, where: str) -> tuple[str, ...]:
    for modality in ("audio", "text"):
        if value == [modality]:
            return (modality,)
    raise ClientError(
        "invalid_value", f'{where} must be ["audio"] or ["text"], got {value!r}', param=where
    )


def _max_tokens(value: object, where: str) -> int | None:
    if value is None or value == "inf":
        return None
    number = _number(value, where)
    if number < 1 or number != int(number):
        raise ClientError("invalid_value", f'{where} must be a whole number or "inf"', param=where)
    return int(number)


def _tools(value: object, where: str) -> tuple[Mapping[str, Any], ...]:
    tools = [] if value is None else value
    if not isinstance(tools, list):
        raise ClientError("invalid_type", f"{where} must be a list", param=where)
    return tuple(dict(read_object(tool, f"{where}[{n}]")) for n, tool in enumerate(tools))


def _tool_choice(value: object, where: str) -> str:
    return value if isinstance(value, str) else "auto"  # an object makes one client stop


def _anything(value: object, where: str) -> object:
    return value


_READERS = {
    "instructions": _text,
    "output_modalities": _modalities,
    "max_output_tokens": _max_tokens,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "tracing": _anything,
    "truncation": _anything,
}
