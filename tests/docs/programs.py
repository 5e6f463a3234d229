"""Runs the Python of a page as a reader would: from top to bottom, in one namespace."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from .blocks import ROOT, Block, blocks
from .given import GIVEN

# Blocks that are a file of the project: by the page, and by what is in the block. They are run by that file's tests.
SHOWN = {
    ("README.md", "class Assistant(Agent)"): "examples/agent.py",
    ("docs/production.md", "An agent that writes down"): "examples/diagnose.py",
    ("docs/emulate.md", "python openai_sdk.py"): "tests/clients/openai_sdk.py",
    ("docs/emulate.md", "python openai_agents.py"): "tests/clients/openai_agents.py",
    ("docs/emulate.md", "python pipecat_pipeline.py"): "tests/clients/pipecat_pipeline.py",
    ("docs/emulate.md", "python livekit_official.py"): "tests/clients/livekit_official.py",
}


def shown_file(block: Block) -> Path | None:
    """The file of the project that the block shows, if that is what it does."""
    for (page, text), path in SHOWN.items():
        if page == block.page and text in block.code:
            return ROOT / path
    return None


async def run(block: Block, names: dict[str, Any]) -> None:
    """Run one block in these names; `await` may stand outside of a function, as in the pages. Errors tell the page."""
    source = "\n" * block.line + block.code
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, str(ROOT / block.page), "exec", flags=flags, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        await eval(code, names)
    else:
        exec(code, names)


async def program(page: str) -> dict[str, Any]:
    """The names that the Python of the page leaves behind, its pytest modules and the files of the project left out."""
    names: dict[str, Any] = {"__name__": "page", **GIVEN.get(page, dict)()}
    for block in blocks(page, "python"):
        if not (block.is_test or block.file == "conftest.py" or shown_file(block)):
            await run(block, names)
    return names


def defined(block: Block) -> set[str]:
    """The functions and classes of a block, and what it assigns beside them; nothing when it defines no function."""
    tree = ast.parse(block.code)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    made = {node.name for node in tree.body if isinstance(node, kinds)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return made | assigned if made else set()


def callers(block: Block) -> list[str]:
    """Who calls what it defines: tests of the page, or test modules that name the page and a name of it."""
    wanted = defined(block) | ({block.file} if block.file else set())
    found = [str(other) for other in blocks(block.page, "python") if other.is_test and wanted & _words(other.code)]
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        texts = _texts(path) if block.page in path.read_text(encoding="utf-8") else set()
        if block.page in texts and wanted & texts:
            found.append(str(path.relative_to(ROOT)))
    return found


def reads(source: str, block: Block, which: int) -> bool:
    """Whether this source takes the block from a call of `blocks`; `which`: its place among its page's of its language.

    What is unpacked takes those that it gives a name, `[n]` takes one, and anything else all of them.
    """
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    wanted = [block.page, block.language]
    return any(
        _takes(node, parents, which)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("blocks")
        and [argument.value for argument in node.args if isinstance(argument, ast.Constant)] == wanted
    )


def _takes(call: ast.Call, parents: dict[ast.AST, ast.AST], which: int) -> bool:
    parent = parents[call]
    if isinstance(parent, ast.Subscript) and isinstance(parent.slice, ast.Constant):
        return bool(parent.slice.value == which)
    while isinstance(parent, (ast.comprehension, ast.GeneratorExp, ast.ListComp)):
        parent = parents[parent]
    if not (isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)):
        return True
    names = parent.targets[0].elts
    return which < len(names) and ast.unparse(names[which]) != "_"


def _words(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def _texts(path: Path) -> set[str]:
    """The texts in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
