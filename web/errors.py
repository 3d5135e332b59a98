"""What a client did wrong, in the protocol's own words."""


class ClientError(Exception):
    """An event that cannot be followed; the session goes on.

    Args:
        code: What programs read, such as ``response_cancel_not_active``.
        message: What people read.
        param: The part of the event that is meant, such as ``session.audio.input.format``.
    """

    def __init__(self, code: str, message: str, *, param: str | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
