"""The pytest that is written of a recording: it passes with this package, and fails with one that has a bug."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import livekit_plugins_openai_ga
from livekit_plugins_openai_ga.replay import Run, pytest_file, rerun
from tests.replay.sessions import SESSIONS, record

PACKAGE = Path(livekit_plugins_openai_ga.__file__).parent

# Session -> a module, what stands in it, and the bug in its place.
BUGS = {
    "interruption": ("wire/client_events.py", '"audio_end_ms": audio_end_ms,', '"audio_end_ms": audio_end_ms + 40,'),
    "drop mid-reply": (
        "core/conversation.py",
        "return [*self.setup.opened(told), *self.history.opened()]",
        "self.history.opened(); return [*self.setup.opened(told)]",
    ),
    "plain turn": (
        "realtime/shell.py",
        'self.emit("input_audio_transcription_completed", mapping.transcript(effect))',
        "pass",
    ),
}


def written(folder: Path, name: str) -> Path:
    recording, _ = record(folder / name, **SESSIONS[name])
    test = folder / f"test_{name.replace(' ', '_').replace('-', '_')}.py"
    there = pytest_file.beside(recording, test)
    test.write_text(pytest_file.page(there.name, rerun(there), "A session, again."))
    return test


def run(folder: Path, package_root: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rpf", "."]
    environ = {**os.environ, "PYTHONPATH": str(package_root)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120).stdout


def test_they_pass_and_fail_with_bugs(tmp_path):
    tests = [written(tmp_path / "tests", name) for name in BUGS]
    assert f"{2 * len(BUGS)} passed" in (fine := run(tmp_path / "tests", PACKAGE.parent)), fine

    copy = tmp_path / "copy"
    for package in (PACKAGE, PACKAGE.parent / "livekit"):
        shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for module, right, wrong in BUGS.values():
        source = (copy / PACKAGE.name / module).read_text()
        assert right in source
        (copy / PACKAGE.name / module).write_text(source.replace(right, wrong))
    broken = run(tmp_path / "tests", copy)
    failed = {test.name for test in tests if f"FAILED {test.name}" in broken}
    assert failed == {test.name for test in tests}, broken


def test_it_is_formatted_and_says_what_it_is(tmp_path):
    source = written(tmp_path, "invalid model").read_text()
    compile(source, "test_again.py", "exec")
    assert source.startswith('"""A recorded session, again.')
    assert "\n# A session, again.\n" in source
    assert "'error invalid_model, and the session is over'" in source


def test_the_recording_comes_beside_it_with_its_rights(tmp_path):
    recording = tmp_path / "a" / "call.jsonl"
    recording.parent.mkdir()
    recording.write_text("{}")
    recording.chmod(0o600)
    test = tmp_path / "b" / "test_call.py"
    test.parent.mkdir()
    there = pytest_file.beside(recording, test)
    assert (there, stat.S_IMODE(there.stat().st_mode)) == (tmp_path / "b" / "call.jsonl", 0o600)
    assert pytest_file.beside(recording, test) == there  # it is the same
    there.write_text("another")
    with pytest.raises(FileExistsError, match="another file"):
        pytest_file.beside(recording, test)


HOSTILE = (
    '"""; raise SystemExit; """',
    "'; raise SystemExit; '",
    "one\nraise SystemExit\r\nraise SystemExit\x0craise SystemExit\u2028raise SystemExit",
    "ends with a backslash \\",
    "{recording} {0} {{}} %s",
    "coding: utf-7 +AAo-raise SystemExit",
    "half a pair \ud800",
    "x" * 5_000,
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_stands_in_a_recording_is_no_code(hostile):
    def shape(text: str) -> tuple[bytes, str]:
        run = Run(differences=(), told=(text,), asked=(text,), notes=())
        source = pytest_file.page(text, run, text).encode()
        return source, ast.dump(ast.parse(source)).replace(repr(text), "TEXT")

    source, parsed = shape(hostile)
    assert parsed == shape("call.jsonl")[1]
    assert all(len(line) <= 120 for line in source.splitlines() if line.startswith(b"#"))
