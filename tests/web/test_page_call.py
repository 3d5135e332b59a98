"""The page's call, without a browser: what it says to the server, and in which order."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

STATIC = ROOT / "web" / "static"


def test_the_page_says_things_in_order(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    modules = []
    for name in ("call", "worklets"):  # node reads a .js that no package.json explains as no module
        modules.append(str(shutil.copy(STATIC / f"{name}.js", tmp_path / f"{name}.mjs")))
    command = [node, str(Path(__file__).with_name("call.mjs")), *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout, "something was run"
