"""What a server writes down while it runs: never what was said."""

import json
import logging
import sys


class JsonLines(logging.Formatter):
    """One object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(*, as_json: bool) -> None:
    """Write logs to stderr; those of the sockets only where something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    ours = logging.getLogger("web")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    logging.getLogger("web.sockets").setLevel(logging.WARNING)
