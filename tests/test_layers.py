"""Imports point downward only: the table below is the layering, and every source file is held to it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Layer → what of ours it may import. A file belongs to the longest name that fits it.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "model_repo": ("model_repo",),
    "server.errors": (),
    "server.promptness": (),
    "server.secret": (),
    "server.cgroups": (),
    "server.resources": ("server.cgroups",),
    "server": (
        "server.errors",
        "server.settings",
        "server.secret",
        "server.metrics",
        "server.resources",
        "server.logs",
        "model_repo",
    ),
    "server.runtime": ("server.runtime", "server.errors", "server.promptness", "model_repo"),
    "server.serving": (
        "server.serving",
        "server.runtime",
        "server.errors",
        "server.settings",
        "server.metrics",
        "server.resources",
        "model_repo",
    ),
    "server.http": (
        "server.http",
        "server.serving",
        "server.runtime",
        "server.errors",
        "server.settings",
        "server.secret",
        "server.metrics",
        "server.resources",
        "model_repo",
    ),
    "server.front": (
        "server.front",
        "server.http",
        "server.serving",
        "server.errors",
        "server.settings",
        "server.secret",
        "server.metrics",
        "server.promptness",
        "server.logs",
        "model_repo",
    ),
    "server.__main__": ("server", "model_repo"),
    "exporter": ("exporter", "server.runtime", "server.errors", "model_repo"),
    "exporter.families": ("exporter.families", "exporter.data", "exporter.errors", "model_repo"),
    "exporter.networks": (
        "exporter.networks",
        "exporter.families",
        "exporter.detectors",
        "exporter.conversion",
        "exporter.data",
        "exporter.errors",
        "exporter.distortion",
        "exporter.inference",
        "exporter.metrics",
        "exporter.seeds",
        "exporter.training",
        "server.runtime",
        "model_repo",
    ),
    "loadtest": ("loadtest", "model_repo"),
    "loadtest.gpu": ("loadtest", "server.errors", "model_repo.command_line"),
    "loadtest.sharing": ("loadtest", "server.runtime", "model_repo"),
    "loadtest.accelerators": ("loadtest", "server.runtime", "server.errors", "server.resources", "model_repo"),
}

# Others' package → the only places that may import it.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "onnxruntime": (
        "server.runtime.sessions",
        "server.runtime.binding",
        "exporter.conversion.int8",  # its quantiser, which runs nothing
        "loadtest.accelerators.bare",
    ),
    "torch": ("exporter",),
    "sklearn": ("exporter",),
    "skl2onnx": ("exporter",),
    "onnxmltools": ("exporter",),
    "lightgbm": ("exporter",),
    "pywt": ("exporter",),
    "matplotlib": ("exporter", "loadtest"),
    "tokenizers": ("server.runtime.tokenizing", "exporter"),
    "litestar": ("server.http", "server.__main__"),
    "uvicorn": ("server.http", "server.front", "server.__main__"),
    "prometheus_client": ("server.metrics", "server.http.exposition"),
}

# Layer → packages that it must not import, whoever else may.
NEVER: dict[str, tuple[str, ...]] = {
    "server.runtime": ("asyncio",),
    "exporter.families": ("torch", "sklearn", "scipy", "lightgbm", "onnx"),
}

# A leaf imports the standard library and these, nothing else.
LEAVES: dict[str, tuple[str, ...]] = {"model_repo": ("msgspec", "obstore")}

# Programs that other servers are written in, run by the interpreters of environments of their own: ONLY_IN says
# nothing about them. What of ours they may import is as for the rest of loadtest.
RUN_ELSEWHERE = ("loadtest.peers.servers",)

OURS = ("model_repo", "server", "exporter", "loadtest")
LAZY = ("tutti",)


@dataclass(frozen=True)
class Import:
    """`module` as imported by `importer` at `line`; `lazy` in a function or for the type checker alone."""

    importer: str
    module: str
    line: int
    lazy: bool


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _modules(node: ast.AST, package: str, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base]).rstrip(".")
        for alias in node.names:  # `from server import http` imports server.http
            path = root.joinpath(*base.split("."), alias.name)
            is_module = path.is_dir() or path.with_suffix(".py").is_file()
            yield f"{base}.{alias.name}" if is_module else base


def _defers(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a file, those in functions and under TYPE_CHECKING included."""
    name = _name(path, root)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    inner = {id(node) for outer in ast.walk(tree) if _defers(outer) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        for module in _modules(node, package, root):
            yield Import(name, module, getattr(node, "lineno", 0), id(node) in inner)


def _layer(importer: str) -> str | None:
    fitting = [layer for layer in MAY_IMPORT if _within(importer, layer)]
    return max(fitting, key=len, default=None)


def problem(found: Import) -> str | None:
    """What is wrong with one import, or None."""
    importer, module = found.importer, found.module
    outer = module.split(".")[0]
    layer = _layer(importer)
    if importer in LAZY and outer in OURS and not found.lazy:
        return "must be imported inside a function"
    if layer is not None and outer in OURS and not any(_within(module, allowed) for allowed in MAY_IMPORT[layer]):
        return f"{layer} may import only {', '.join(MAY_IMPORT[layer]) or 'nothing of ours'}"
    elsewhere = any(_within(importer, place) for place in RUN_ELSEWHERE)
    if outer in ONLY_IN and not elsewhere and not any(_within(importer, place) for place in ONLY_IN[outer]):
        return f"{outer} is only for {', '.join(ONLY_IN[outer])}"
    if layer in NEVER and outer in NEVER[layer]:
        return f"{layer} does not use {outer}"
    if layer in LEAVES and outer not in (*OURS, *LEAVES[layer]) and outer not in sys.stdlib_module_names:
        return f"{layer} is a leaf: standard library, {', '.join(LEAVES[layer])}"
    return None


def violations(root: Path) -> list[str]:
    """One line for each import under `root` that the layering does not allow."""
    files = [*root.glob("*.py"), *(path for package in OURS for path in (root / package).rglob("*.py"))]
    return [
        f"{path.relative_to(root)}:{found.line} imports {found.module}: {reason}"
        for path in sorted(files)
        for found in imports(path, root)
        if (reason := problem(found)) is not None
    ]


def graph(root: Path) -> dict[str, set[str]]:
    """Each of our modules under `root` → those of ours that it imports, in functions and for the type checker too."""
    files = {_name(path, root): path for package in OURS for path in (root / package).rglob("*.py")}
    return {
        name: {found.module for found in imports(path, root) if found.module in files} - {name}
        for name, path in files.items()
    }


def circle(given: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first again at the end; [] where there is no ring."""
    left = dict(given)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    path = [min(left)] if left else []
    while path and (step := min(left[path[-1]] & left.keys())) not in path:
        path.append(step)
    return [*path[path.index(step) :], step] if path else []


def test_every_import_points_downward() -> None:
    assert violations(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert " → ".join(circle(graph(ROOT))) == ""


def test_the_check_reads_every_package() -> None:
    read = {_name(path, ROOT).split(".")[0] for package in OURS for path in (ROOT / package).rglob("*.py")}
    assert read == set(OURS)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("server/serving/batcher.py", "from server.http import app", "server.serving may import only"),
        ("server/serving/batcher.py", "from server import http", "server.serving may import only"),
        ("server/serving/batcher.py", "from .. import http", "server.serving may import only"),
        ("server/serving/batcher.py", "from ..http.app import create_app", "server.serving may import only"),
        ("server/runtime/plan.py", "import asyncio", "server.runtime does not use asyncio"),
        ("server/runtime/plan.py", "import server.serving.batcher", "server.runtime may import only"),
        (
            "server/runtime/plan.py",
            "import onnxruntime as ort",
            "onnxruntime is only for server.runtime.sessions",
        ),
        ("server/runtime/plan.py", "def f():\n    import torch", "torch is only for exporter"),
        ("server/errors.py", "import model_repo", "server.errors may import only nothing of ours"),
        ("server/settings.py", "from server.runtime import fusion", "server may import only"),
        ("model_repo/store.py", "import numpy", "model_repo is a leaf"),
        ("model_repo/store.py", "from server.errors import LoadError", "model_repo may import only"),
        ("exporter/parity.py", "from server.serving import manager", "exporter may import only"),
        ("loadtest/cli.py", "import exporter", "loadtest may import only"),
        ("loadtest/cli.py", "import uvicorn", "uvicorn is only for server.http"),
        ("loadtest/peers/servers/tuned.py", "import server.http", "loadtest may import only"),
        ("loadtest/cli.py", "if TYPE_CHECKING:\n    from server.errors import X", "loadtest may import only"),
        ("tutti.py", "import server.settings", "must be imported inside a function"),
    ],
)
def test_an_import_that_points_upward_is_found(tmp_path: Path, file: str, source: str, expected: str) -> None:
    (tmp_path / "server" / "http").mkdir(parents=True)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n", encoding="utf-8")
    (found,) = violations(tmp_path)
    assert expected in found
    assert found.startswith(file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("server/http/app.py", "from server.serving import manager\nimport litestar\nimport asyncio"),
        ("server/runtime/sessions.py", "import onnxruntime"),
        ("server/__main__.py", "from server.http import app\nfrom server.serving import manager"),
        ("exporter/parity.py", "from server.runtime import fusion\nimport torch\nimport model_repo"),
        (
            "model_repo/store.py",
            "import os, msgspec\nfrom . import errors\nfrom .errors import RepositoryError",
        ),
        ("loadtest/swap.py", "from model_repo import Repository"),
        ("loadtest/peers/servers/tuned.py", "import uvicorn, onnxruntime"),
        ("tutti.py", "def main():\n    import server.__main__"),
        ("tutti.py", "if TYPE_CHECKING:\n    from model_repo import Repository"),
    ],
)
def test_an_import_that_points_downward_is_let_through(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n", encoding="utf-8")
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a": "import server.b", "b": "import server.c", "c": ""}, []),
        ({"a": "import server.b", "b": "from server import a"}, ["server.a", "server.b", "server.a"]),
        ({"a": "from server.b import X", "b": "def f():\n    import server.a"}, ["server.a", "server.b", "server.a"]),
        (
            {"a": "import server.b", "b": "import server.c", "c": "if TYPE_CHECKING:\n    from server.b import X"},
            ["server.b", "server.c", "server.b"],
        ),
    ],
)
def test_a_circle_of_imports_is_found(tmp_path: Path, sources: dict[str, str], expected: list[str]) -> None:
    (tmp_path / "server").mkdir()
    for name, source in sources.items():
        (tmp_path / "server" / f"{name}.py").write_text(source + "\n", encoding="utf-8")
    assert circle(graph(tmp_path)) == expected
