"""The command `migrate`: which files it looks through, what it says, its exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from livekit_plugins_openai_ga import cli
from livekit_plugins_openai_ga.cli.migration.files import MAX_BYTES
from livekit_plugins_openai_ga.cli.migration.rules import RULES, Effect
from tests.docs.blocks import blocks

HEADER = 'headers = {"OpenAI-Beta": "realtime=v1"}\n'
LATER = 'connect(model="gpt-realtime")\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    cli.main(["migrate", *arguments, "--json"])
    return [finding["file"] for finding in json.loads(capsys.readouterr().out)["findings"]]


def test_a_finding_is_a_place_an_effect_a_reason_and_the_ga_form(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, {"a/bot.py": f"\n{HEADER}"})
    assert cli.main(["migrate", "a"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a/bot.py:2:27: loud beta-header: realtime=v1",
        "    GA answers it with the error beta_api_shape_disabled and closes the connection with 4000.",
        "    GA: leave the header out",
        "1 file looked through: 1 loud. --fix rewrites 1 of them, --diff shows how.",
    ]


def test_a_file_that_has_nothing_but_an_item_of_a_conversation_is_looked_through(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = "{type: 'conversation.item.create', item: {role: 'assistant', content: [{type: 'text', text: 'hi'}]}}"
    put(folder, {"a.js": f"send({item});\n"})
    assert found(capsys, ".") == ["a.js"]


def test_a_reason_is_given_once_in_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": HEADER * 2 + LATER + HEADER})
    cli.main(["migrate", "a.py"])
    assert capsys.readouterr().out.count("GA answers it with the error beta_api_shape_disabled") == 2


@pytest.mark.parametrize(("text", "code"), [(HEADER, 1), (LATER, 0), ("x = 1  # realtime\n", 0)])
def test_check_fails_for_what_breaks_and_not_for_what_will(
    folder: Path, text: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, {"a.py": text})
    assert cli.main(["migrate", "a.py"]) == 0
    assert cli.main(["migrate", "a.py", "--check"]) == code


def test_vendored_ignored_large_and_binary_files_are_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(
        folder,
        {
            ".git/config": "",
            ".gitignore": "# not these\n/generated/\n*.local.py\nlogs/**\n!keep.local.py\nsub/[ab]?.py\n",
            "sub/.gitignore": "here.py\n",
            "kept.py": HEADER,
            "keep.local.py": HEADER,
            "deep/generated/kept.py": HEADER,
            "sub/kept.py": HEADER,
            "generated/x.py": HEADER,
            "x.local.py": HEADER,
            "logs/today/x.py": HEADER,
            "sub/a1.py": HEADER,
            "sub/here.py": HEADER,
            "node_modules/p/x.js": HEADER,
            ".venv/lib/x.py": HEADER,
            "dist/x.js": HEADER,
            "app.min.js": HEADER,
            "package-lock.json": HEADER,
            "large.py": HEADER + "#" * MAX_BYTES,
            "binary.py": b"\0" + HEADER.encode(),
            "notes.txt": HEADER,
        },
    )
    kept = ["deep/generated/kept.py", "keep.local.py", "kept.py", "sub/kept.py"]
    assert [Path(path).as_posix() for path in found(capsys, ".")] == kept
    assert found(capsys, "sub") == ["sub/kept.py"]
    assert found(capsys, "dist/x.js") == ["dist/x.js"]


def test_a_loop_of_links_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a/b.py": HEADER})
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "a" / "gone.py").symlink_to(folder / "nowhere.py")
    assert found(capsys, ".") == ["a/b.py"]


def test_a_file_that_cannot_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": b'model = "realtime \xff"', "b.py": HEADER})
    assert cli.main(["migrate", "."]) == 1
    captured = capsys.readouterr()
    assert captured.err == "migrate: a.py was not looked through: it is not UTF-8.\n"
    assert "b.py:1:27" in captured.out


def test_a_path_that_is_not_there_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "nowhere"]) == 2
    assert capsys.readouterr().err == "migrate: there is no file or folder 'nowhere': give one that exists.\n"


def test_diff_and_json_exclude_each_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": HEADER})
    assert cli.main(["migrate", "a.py", "--diff", "--json"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_diff_shows_what_fix_writes_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": HEADER.rstrip("\n")})
    assert cli.main(["migrate", "a.py", "--diff"]) == 0
    patch = capsys.readouterr().out
    assert (folder / "a.py").read_text() == HEADER.rstrip("\n")
    subprocess.run(["git", "apply", "-"], input=patch, text=True, check=True, capture_output=True)
    assert (folder / "a.py").read_text() == "headers = {}"


def test_fix_keeps_mode_mark_and_line_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": b"\xef\xbb\xbf" + HEADER.replace("\n", "\r\n").encode() * 2})
    (folder / "a.py").chmod(0o750)
    assert cli.main(["migrate", "a.py", "--fix"]) == 0
    assert (folder / "a.py").read_bytes() == b"\xef\xbb\xbf" + b"headers = {}\r\n" * 2
    assert (folder / "a.py").stat().st_mode & 0o777 == 0o750
    assert capsys.readouterr().out.endswith("1 file rewritten. Run it again to see what is left for you.\n")
    assert found(capsys, "a.py") == []


def test_json_has_stable_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a.py": HEADER, "b.py": b"realtime \xff"})
    assert cli.main(["migrate", ".", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {"files", "findings", "unreadable"}
    assert report["unreadable"] == [{"file": "b.py", "reason": "it is not UTF-8"}]
    (finding,) = report["findings"]
    keys = {"file", "line", "column", "rule", "effect", "found", "why", "instead", "fixable"}
    assert finding.keys() == keys
    assert (finding["line"], finding["column"], finding["rule"], finding["fixable"]) == (1, 27, "beta-header", True)


def test_sarif_is_2_1_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder, {"a folder/a.py": HEADER, "b.py": LATER})
    assert cli.main(["migrate", ".", "--sarif"]) == 0
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    first, second = run["results"]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "beta-header"
    assert (first["level"], second["level"]) == ("error", "note")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20folder/a.py"
    assert place["region"] == {"startLine": 1, "startColumn": 27, "endLine": 1, "endColumn": 40}
    assert first["message"]["text"].startswith("realtime=v1: ")


def test_on_a_terminal_it_has_colours_and_no_escape_of_a_file_gets_there(folder: Path) -> None:
    put(folder, {"a\x1b[2J.py": HEADER})
    parent, child = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    environ.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "livekit_plugins_openai_ga", "migrate", ".", "--check"]
    done = subprocess.run(command, stdout=child, stderr=child, env=environ, check=False, timeout=60)
    os.close(child)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert done.returncode == 1
    assert "\x1b[31mloud\x1b[0m \x1b[36mbeta-header\x1b[0m" in shown
    assert "\x1b[2J" not in shown


def test_every_rule_says_why() -> None:
    for name, rule in RULES.items():
        assert (name, bool(rule.finds and rule.why)) == (rule.id, True)
    assert {rule.effect for rule in RULES.values()} == set(Effect)


PAGE = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text()


def test_the_page_lists_the_rules() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| (\w+) \| (.+) \|$", PAGE, re.M)
    assert rows == [(rule.id, rule.finds, rule.effect.value, rule.why) for rule in RULES.values()]


def test_the_page_shows_what_is_found_and_changed_in_its_program(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = blocks("docs/migrate.md", "python")
    (shown,) = blocks("docs/migrate.md", "text")
    (changed,) = blocks("docs/migrate.md", "diff")
    put(folder, {"src/bot.py": program.code})
    cli.main(["migrate", "src"])
    assert shown.code in capsys.readouterr().out
    cli.main(["migrate", "src", "--diff"])
    rows = [row for row in capsys.readouterr().out.splitlines() if re.match(r"[-+](?![-+])", row)]
    assert rows == changed.code.splitlines()
