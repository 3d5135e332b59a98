"""``voiceglm``: one command, one line per task.

Nothing heavy is imported until a task runs, so ``voiceglm --help`` is instant and works where
torch is not installed. stdout carries data, stderr carries everything else.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from voiceglm.errors import VoiceGLMError

TASKS = {  # name: (module with add_arguments() and run(), help)
    "doctor": ("voiceglm.commands.doctor", "check this machine, this installation and the model"),
    "chat": ("voiceglm.commands.chat", "answer a spoken or a written question, aloud"),
    "encode": ("voiceglm.commands.encode", "turn speech files into ids"),
    "decode": ("voiceglm.commands.decode", "turn ids into speech files"),
    "transcribe": ("voiceglm.commands.transcribe", "write down what speech files say"),
    "evaluate": ("voiceglm.commands.evaluate", "measure a model: the tables of the papers"),
    "samples": ("voiceglm.commands.samples", "let a model be heard: conversations as a page"),
    "bench": ("voiceglm.commands.bench", "time a model: from the end of speech to the answer"),
    "serve": ("voiceglm.commands.serve", "talk live to any OpenAI Realtime client"),
    "demo": ("voiceglm.commands.demo", "talk with a model in the browser"),
    "loadtest": ("voiceglm.commands.loadtest", "call a server from many sides at once"),
    "convert": ("voiceglm.commands.convert", "write a released model in this project's layout"),
    "tokenizer": ("voiceglm.commands.tokenizer", "train what hears: speech to ids"),
    "decoder": ("voiceglm.commands.decoder", "train what speaks: ids to speech"),
    "lm": ("voiceglm.commands.lm", "train what thinks: the language model"),
    "voice": ("voiceglm.commands.voice", "voices that a model speaks with"),
    "assemble": ("voiceglm.commands.assemble", "join parts that were trained apart to a model"),
    "synth": ("voiceglm.commands.synth", "make training data, list it, check it"),
    "recipe": ("voiceglm.commands.recipe", "make a model: every stage in order, resumable"),
}
FAMILIES = (
    "tokenizer",
    "decoder",
    "lm",
    "voice",
    "synth",
)  # their modules are tables like this one


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one task and return the exit status: 0 done, 1 failed, 130 interrupted.

    A misused command line exits with 2 by itself, as argparse does.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    task, home, text, rest = _choose(argv)
    try:
        status = _run(task, home, text, rest)
        sys.stdout.flush()  # a full disk under stdout speaks up here, not at exit
    except VoiceGLMError as error:
        return _fail(task, str(error))
    except ModuleNotFoundError as error:
        return _fail_on_import(task, error)
    except KeyboardInterrupt:
        _fail(task, "interrupted")
        return 130
    except BrokenPipeError:  # whoever read our stdout has seen enough
        _drop_stdout()
        return 1
    except OSError as error:
        if error.filename is not None:  # no trouble with stdout: a bug, to be seen whole
            raise
        _drop_stdout()
        return _fail(task, f"cannot write to stdout: {error.strerror}")
    return status


def _choose(argv: Sequence[str]) -> tuple[str, str, str, Sequence[str]]:
    """Return a task's whole name, module and help, and its arguments."""
    task, home, text = _parse_task(argv[:1], "voiceglm", "Speech in, speech out.", TASKS)
    if task not in FAMILIES:
        return task, home, text, argv[1:]
    known = import_module(home).TASKS
    member, home, text = _parse_task(argv[1:2], f"voiceglm {task}", _sentence(text), known)
    return f"{task} {member}", home, text, argv[2:]


def _parse_task(
    argv: Sequence[str], prog: str, description: str, known: Mapping[str, tuple[str, str]]
) -> tuple[str, str, str]:
    """Return the task, its module and help; ``--help`` and misuse end the program here."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"{prog} TASK --help says more about one task.",
    )
    parser.add_argument("--version", action="version", version=f"voiceglm {_version()}")
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, (_, text) in known.items():
        tasks.add_parser(name, help=text)
    task = parser.parse_args(argv).task
    return task, *known[task]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _run(task: str, home: str, text: str, argv: Sequence[str]) -> int:
    module = import_module(home)
    parser = argparse.ArgumentParser(
        prog=f"voiceglm {task}",
        description=_sentence(text),
        formatter_class=_HelpFormatter,
    )
    module.add_arguments(parser)
    return module.run(parser.parse_args(argv))


def _fail(task: str, message: str) -> int:
    print(f"voiceglm {task}: {message}", file=sys.stderr)
    return 1


def _fail_on_import(task: str, error: ModuleNotFoundError) -> int:
    """Say which package is missing; a module of ours that is missing is a bug."""
    package = (error.name or "").partition(".")[0]
    if package in ("voiceglm", "tokenizer", "decoder", "data_synth", "web", ""):
        raise error
    return _fail(task, f"the package {package} is not installed; pip install it, or see README.md")


def _drop_stdout() -> None:
    """Keep the interpreter from flushing into a closed or full stdout once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("voiceglm")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
