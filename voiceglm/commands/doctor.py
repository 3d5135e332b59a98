"""``voiceglm doctor``: this machine, this installation, the bundled model."""

import argparse
import sys
from dataclasses import asdict

from voiceglm.commands.options import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object per finding")


def run(args: argparse.Namespace) -> int:
    """Print every finding; 1 if anything has to be mended."""
    from voiceglm.doctor import examine

    findings = examine()
    for finding in findings:
        if args.json:
            write_json(asdict(finding))
        else:
            sys.stdout.write(f"{finding.state:4}  {finding.name:24}  {finding.detail}\n")
    return 1 if any(finding.state == "bad" for finding in findings) else 0
