"""The house stands: imports point down, our names are ours, and nothing outgrows its budget."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from voiceglm.cli import FAMILIES, TASKS

ROOT = Path(__file__).parent.parent
OURS = ("voiceglm", "tokenizer", "decoder", "data_synth", "web")

FLOORS = [  # ground first; a name covers everything under it
    {
        "voiceglm.errors",
        "voiceglm.config",
        "voiceglm.audio",
        "voiceglm.events",
        "voiceglm.style",
        "voiceglm.files",
        "voiceglm.lines",
        "voiceglm.scripts",
    },
    {
        "voiceglm.streaming",
        "voiceglm.checkpoint",
        "voiceglm.vocabulary",
        "voiceglm.text_tokenizer",
        "voiceglm.interleave",
        "voiceglm.prompt",
        "voiceglm.history",
        "voiceglm.manifest",
        "voiceglm.error_rate",
        "voiceglm.augmentation",
        "voiceglm.batches",
        "voiceglm.optimizers",
        "voiceglm.ranks",
        "voiceglm.resume",
        "voiceglm.runs",
        "voiceglm.mixing",
        "voiceglm.documents",
        "voiceglm.step_cost",
        "voiceglm.train_config",
        "voiceglm.trainer",
        "voiceglm.training",
        "voiceglm.training_log",
    },
    {
        "tokenizer",
        "decoder",
        "voiceglm.chatglm",
        "voiceglm.growth",
        "voiceglm.language_config",
        "voiceglm.language_model",
        "voiceglm.lora",
        "voiceglm.engines",
        "voiceglm.packing",
        "voiceglm.train",
    },
    {
        "voiceglm.chat",
        "voiceglm.pretrained",
        "voiceglm.assemble",
        "voiceglm.convert",
        "voiceglm.evaluate",
        "data_synth",
    },
    {
        "web",
        "voiceglm.recipe",
        "voiceglm.recipe_config",
        "voiceglm.recipe_script",
        "voiceglm.dry_run",
        "voiceglm.estimate_table",
        "voiceglm.workloads",
        "voiceglm.language_run",
        "voiceglm.report",
        "voiceglm.evaluation",
        "voiceglm.samples",
        "voiceglm.doctor",
        "voiceglm.bench",
    },
    {"voiceglm.commands"},
]
BY_NAME = {"voiceglm", "voiceglm.cli"}  # the lazy facade and the command table import by string
TRAINING_LOOPS = {"fit", "train"}  # may be longer than other functions


@cache
def sources() -> dict[Path, ast.Module]:
    """Every file of ours, parsed."""
    return {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for package in OURS
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor(module: str) -> int:
    parts = module.split(".")
    names = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    for level, covered in enumerate(FLOORS):
        if names & covered:
            return level
    raise AssertionError(f"{module} stands on no floor: add it to FLOORS, or import it by name")


def graph() -> dict[str, set[str]]:
    """Map each of our modules to those of our modules it imports."""
    found: dict[str, set[str]] = {}
    for path, tree in sources().items():
        found[name_of(path)] = set(imports(tree))
    return {me: others for me, others in found.items() if me not in BY_NAME}


def imports(tree: ast.Module) -> Iterator[str]:
    modules = {name_of(path) for path in sources()}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [member for member in members if member in modules]  # from decoder import model
            names = inner or [node.module]
        yield from (name for name in names if name.split(".")[0] in OURS)


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def depth(node: ast.AST) -> int:
    """How deep blocks lie in one another; ``elif`` and further functions do not count."""
    blocks = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and [child] == node.orelse
        step = int(isinstance(child, blocks) and not is_elif)
        deepest = max(deepest, step + depth(child))
    return deepest


def test_imports_point_down() -> None:
    for me, others in graph().items():
        if me in OURS and not others:
            continue
        for other in others:
            same_package = me.split(".")[0] == other.split(".")[0]
            step = floor(other) - floor(me)
            assert step < 0 or (step == 0 and same_package), f"{me} must not import {other}"


def test_every_module_stands_on_a_floor() -> None:
    for me in graph():
        floor(me)


def test_the_facade_is_imported_by_nothing_inside() -> None:
    for me, others in graph().items():
        assert "voiceglm" not in others, f"{me} imports the facade; import the module itself"


def test_no_circles() -> None:
    list(TopologicalSorter(graph()).static_order())  # raises CycleError, naming the circle


def test_our_names_are_ours() -> None:
    """'tokenizer' and 'web' are also names of PyPI packages; fail loudly, not strangely."""
    for name in OURS:
        spec = find_spec(name)
        assert spec, f"{name} is missing"
        assert spec.origin, f"{name} is a bare folder, without __init__.py"
        assert Path(spec.origin).parent.parent == ROOT, f"another {name!r} is at {spec.origin}"


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_file_outgrows_its_budget() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    lengths = {path: len(path.read_text().splitlines()) for path in [*sources(), *tests]}
    for path, length in lengths.items():
        assert length <= 500, f"{name_of(path)} has {length} lines, over 500"
    ours = [lengths[path] for path in sources()]
    assert statistics.quantiles(ours, n=10)[-1] <= 350, "one file in ten has more than 350 lines"


def test_no_function_outgrows_its_budget() -> None:
    for path, node in functions():
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        limit = 80 if node.name in TRAINING_LOOPS else 60
        place = f"{name_of(path)}.{node.name}"
        assert length <= limit, f"{place} has {length} lines, over {limit}"
        assert depth(node) <= 3, f"{place} is nested {depth(node)} deep, over 3"


def test_no_constructor_takes_more_than_eight_arguments() -> None:
    for path, node in functions():
        if node.name == "__init__":
            count = len(node.args.args) - 1 + len(node.args.kwonlyargs)
            assert count <= 8, f"a constructor in {name_of(path)} takes {count}; give it a config"


def test_only_the_command_line_prints() -> None:
    for path, tree in sources().items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        prints = any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
        assert not prints or name_of(path) == "voiceglm.cli", f"{name_of(path)} prints"


def test_no_room_for_odds_and_ends() -> None:
    for path in sources():
        assert path.stem not in {"utils", "util", "common", "helpers", "misc"}, path


def members() -> dict[str, str]:
    """Map every task within a family, by its whole name, to its module."""
    return {
        f"{family} {name}": home
        for family in FAMILIES
        for name, (home, _) in import_module(TASKS[family][0]).TASKS.items()
    }


def test_every_task_has_its_module() -> None:
    for task, (home, _) in TASKS.items():
        assert find_spec(home), f"voiceglm {task} needs {home}"
    for task, home in members().items():
        assert find_spec(home), f"voiceglm {task} needs {home}"


@pytest.mark.parametrize(
    "code",
    [
        "import voiceglm; dir(voiceglm)",
        "from voiceglm import VoiceGLMError",
        "import tokenizer, decoder, data_synth, web",
        "import voiceglm.doctor",
        "from voiceglm.cli import main; main(['--help'])",
        *(f"from voiceglm.cli import main; main(['{task}', '--help'])" for task in TASKS),
        *(
            f"from voiceglm.cli import main; main([*'{task}'.split(), '--help'])"
            for task in members()
        ),
    ],
)
def test_these_import_no_torch(code: str) -> None:
    watch = "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules))\n"
    done = subprocess.run(
        [sys.executable, "-c", watch + code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
