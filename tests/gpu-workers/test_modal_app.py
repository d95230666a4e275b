"""The Modal app's definitions, without an account: they import, and say what is deployed."""

from __future__ import annotations

import ast
from pathlib import Path

import modal_app

FUNCTIONS = (modal_app.train, modal_app.gpu_worker)
PACKAGES = Path(__file__).parents[2] / "gpu-workers"


def test_it_defines_one_gpu_function_and_one_endpoint() -> None:
    trains, serves = (f.info() if callable(f.info) else f.info for f in FUNCTIONS)
    assert trains.gpus == [("L4", 1)]
    assert not serves.gpus
    assert serves.web_info is not None
    for info in (trains, serves):
        assert set(info.volumes) == {"/jobs", "/bases"}
        assert len(info.secrets) == 1


def test_only_this_file_imports_modal() -> None:
    importing = set()
    for path in PACKAGES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "modal" for name in names):
                importing.add(path.name)
    assert importing == {"modal_app.py"}


def test_the_launcher_is_what_the_runner_expects() -> None:
    """The seam's methods, by name: the runner calls nothing else."""
    assert callable(modal_app.ModalLauncher().start)
    for method in ("poll", "kill"):
        assert callable(getattr(modal_app.ModalTraining, method))
