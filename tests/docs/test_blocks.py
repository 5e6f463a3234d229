"""Every block of code in the README, in docs/ and in examples/ is run, by the rule for its language.

| language | what happens to it |
|---|---|
| `python` | a page's blocks run from top to bottom in one namespace (`programs`, `given`) |
| `python`, first line `# test_....py` | pytest runs it, in a folder with the page's other files |
| `sh` | bash runs it, line by line (`terminal`) |
| `json` | it is a script that the emulator takes |
| `ini` | it is the file that its first line names |
| `yaml` | it is a workflow for CI: its commands run |
| `text`, `diff` | a test of its page reads it and compares it with what is shown, or done |

Functions and classes that Python only defines have to be called: by a test of the page itself, or by a test module that
names the page and one of them. A block in another language, or in none, fails.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from configparser import ConfigParser
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from livekit import api
from livekit.plugins import openai_ga

from livekit_plugins_openai_ga.emulator import Emulator, Script

from . import programs
from .blocks import ROOT, Block, all_blocks, blocks, found, pages
from .terminal import Terminal, furnished, put_files

pytestmark = pytest.mark.timeout(180)  # programs start in processes of their own

# What is no code: (page, text in the block): why it is there.
DRAWINGS = {("docs/browser.md", "browser or phone ──"): "who sends what to whom"}
CLOSED = (openai_ga.RealtimeModel, openai_ga.STT, openai_ga.SpeechStream, openai_ga.TranslationStream)


@dataclass(frozen=True)
class Place:
    """Where a block runs."""

    server: Emulator
    folder: Path


async def python(block: Block, place: Place) -> None:
    """A test of the page's runs here, a file of the project is that file; the rest runs with its page (below)."""
    if block.is_test:
        await _pytest(block, place)
    elif file := programs.shown_file(block):
        assert block.code.strip() == file.read_text(encoding="utf-8").strip(), f"{block} is not {file.name} any more"
    elif block.file != "conftest.py" and programs.defined(block):
        assert programs.callers(block), f"{block}: nobody calls what it defines. Call it in a test, see {__file__}."


async def _pytest(block: Block, place: Place) -> None:
    assert block.file
    environment = furnished(place.folder, place.server)
    put_files(block.page, place.folder)
    del environment["OPENAI_API_KEY"], environment["OPENAI_BASE_URL"]  # as where there is no key
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", block.file),
        cwd=place.folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await running.communicate()
    assert running.returncode == 0, f"{block}:\n{out.decode()}"


async def shell(block: Block, place: Place) -> None:
    """Bash takes each line, and it ends as it should."""
    await Terminal(place.folder, furnished(place.folder, place.server)).run(block)


async def script(block: Block, place: Place) -> None:
    """The emulator takes it."""
    path = place.folder / "script.json"
    path.write_text(block.code, encoding="utf-8")
    assert Script.load(path).turns


async def settings(block: Block, place: Place) -> None:
    """They are a file, which the page's tests and commands find."""
    assert block.file, f"{block}: which file is it? Say so in its first line: `# pytest.ini`."
    ConfigParser().read_string(block.code)


async def workflow(block: Block, place: Place) -> None:
    """A workflow of GitHub's: the commands of its jobs run, where the page's tests are."""
    jobs = yaml.safe_load(block.code)["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    await shell(replace(block, code="\n".join(commands) + "\n"), place)


async def told(block: Block, place: Place) -> None:
    """A test compares it with what it shows: one that takes this very block of the page's in this language."""
    if any(page == block.page and text in block.code for page, text in DRAWINGS):
        return
    alike = [str(other) for other in blocks(block.page, block.language)]
    which = alike.index(str(block)) if str(block) in alike else len(alike)
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    told = f"no test compares it with anything. Write one that calls blocks({block.page!r}, {block.language!r})."
    assert any(programs.reads(source, block, which) for source in sources), f"{block}: {told}"


RULES: dict[str, Callable[[Block, Place], Awaitable[None]]] = {
    "diff": told,
    "ini": settings,
    "json": script,
    "python": python,
    "sh": shell,
    "text": told,
    "yaml": workflow,
}


def rule(block: Block) -> Callable[[Block, Place], Awaitable[None]]:
    """The rule for a block. Raises AssertionError when there is none."""
    named = f"in {block.language!r}" if block.language else "without a language"
    assert block.language in RULES, f"{block}: a block {named}, for which there is no rule: {', '.join(RULES)}."
    return RULES[block.language]


@pytest.mark.parametrize("block", all_blocks(), ids=str)
async def test_the_block_is_what_it_says(block: Block, server: Emulator, tmp_path: Path) -> None:
    await rule(block)(block, Place(server, tmp_path))


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "python")])
async def test_the_python_of_the_page_runs(
    page: str,
    server: Emulator,
    dispatches: list[api.CreateAgentDispatchRequest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = await programs.program(page)
    for value in names.values():
        if isinstance(value, CLOSED):
            await value.aclose()
    assert [dispatch.room for dispatch in dispatches] == (["the-room"] if page == "docs/production.md" else [])


# The harness itself.


def test_a_block_without_a_rule_fails_and_tells_where_it_is() -> None:
    text = "# A page\n\n```\nls\n```\n\n1. a list\n\n   ```cobol\n   STOP RUN.\n   ```\n"
    plain, odd = found("page.md", text)
    assert (plain.line, odd.code) == (3, "STOP RUN.\n")
    with pytest.raises(AssertionError, match=r"page\.md:3: a block without a language"):
        rule(plain)
    with pytest.raises(AssertionError, match=r"page\.md:9: a block in 'cobol'"):
        rule(odd)


def test_a_fence_that_is_not_closed_is_told() -> None:
    with pytest.raises(ValueError, match=r"page\.md: a fence is not closed"):
        list(found("page.md", "text\n```python\nimport os\n"))


async def test_python_that_only_defines_something_has_to_be_called(server: Emulator, tmp_path: Path) -> None:
    lonely = Block("docs/keys.md", 7, "python", "def nobody_calls_this() -> None: ...\n")
    with pytest.raises(AssertionError, match=r"docs/keys\.md:7: nobody calls"):
        await python(lonely, Place(server, tmp_path))


async def test_output_that_nothing_is_compared_with_fails(server: Emulator, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"docs/keys\.md:7: no test compares it"):
        await told(Block("docs/keys.md", 7, "text", "All is well.\n"), Place(server, tmp_path))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ('first, second = blocks("page.md", "text")', [0, 1]),
        ('_, second = blocks("page.md", "text")', [1]),
        ('assert blocks("page.md", "text")[1].code', [1]),
        ('(only,) = (each.code for each in blocks("page.md", "text"))', [0]),
        ('every = [*blocks("page.md", "text"), *blocks("page.md", "diff")]', [0, 1, 2]),
        ('for each in blocks("page.md", "text"): ...', [0, 1, 2]),
        ('first, _ = blocks("page.md", "diff")', []),
        ('first, _ = blocks("other.md", "text")', []),
    ],
)
def test_which_blocks_a_test_takes(line: str, read: list[int]) -> None:
    block = Block("page.md", 7, "text", "")
    assert [which for which in range(3) if programs.reads(line, block, which)] == read


async def test_an_error_in_a_page_tells_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        await programs.run(Block("docs/keys.md", 7, "python", "one = 1\none / 0\n"), {})
    assert failed.traceback[-1].lineno + 1 == 9


async def test_a_command_that_fails_is_told(server: Emulator, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, furnished(tmp_path, server))
    with pytest.raises(AssertionError, match=r"README\.md:1: pip install .*\nended with 1"):
        await terminal.run(Block("README.md", 1, "sh", 'pip install "livekit-plugins-openai-ga[nothing]"\n'))


async def test_files_and_exports_are_there_for_the_lines_that_follow(server: Emulator, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, furnished(tmp_path, server))
    code = "export WHERE=here\necho one \\\n  two > $WHERE  # a comment\n# another\ncat here && echo $WHERE\n"
    assert await terminal.run(Block("README.md", 1, "sh", code)) == "one two\nhere\n"
