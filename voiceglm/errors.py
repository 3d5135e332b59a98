"""Every error this project raises on purpose. Anything else reaching a user is a bug.

A message is one line, in lower case: what was wrong, where, what was expected, what to do.
"""


class VoiceGLMError(Exception):
    """Base class: catch this to handle every expected failure."""


class ConfigError(VoiceGLMError, ValueError):
    """A configuration file or command-line value that cannot be used."""


class AudioError(VoiceGLMError, ValueError):
    """Audio that cannot be read, or of the wrong rate, shape, type or length."""


class CheckpointError(VoiceGLMError):
    """A model that is unknown, incomplete, damaged, or of another shape than its code."""


class TrainingError(VoiceGLMError):
    """A run that cannot go on."""


class SynthesisError(VoiceGLMError):
    """Speech that could not be made from text."""


class SourceError(VoiceGLMError):
    """Input files that are missing, damaged, or not what they were when work on them began."""


class EngineError(VoiceGLMError):
    """A language model elsewhere that cannot be reached or does not answer as it should."""


class OutputError(VoiceGLMError):
    """A result that cannot be written. Nothing of it is left behind."""


class DependencyError(VoiceGLMError):
    """An optional package that this task needs and that is not installed."""
