"""`python -m tests.matrix [ROW ...]`: one wheel in the environment of each row, a smoke test in each, one table.

Environments are kept in .venv/matrix. A row whose Python is not on this machine is not run, and said so. When all rows
ran, the table goes into docs/compatibility.md. Exit code 1 when a row failed, none ran, or one that was named did not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .rows import HEAD, PAGE, Row, chosen, table, written

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv" / "matrix"
SMOKE = Path(__file__).with_name("smoke.py")
UV = shutil.which("uv")
PIP = ("-m", "pip", "--disable-pip-version-check")
LIMIT = 180.0
"""Seconds a smoke test may take before it is taken to hang."""


def run(*command: str | os.PathLike[str]) -> None:
    subprocess.run([os.fspath(part) for part in command], check=True, cwd=ROOT)


def build_wheel() -> Path:
    folder = HOME / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    if UV:
        run(UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT)
    else:
        run(sys.executable, *PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def interpreter(version: str) -> str | None:
    """A Python of this version on this machine."""
    for candidate in (sys.executable, shutil.which(f"python{version}"), *_pyenv(version)):
        if candidate and _version(candidate) == version:
            return candidate
    if UV:
        found = subprocess.run([UV, "python", "find", version], capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None


def _pyenv(version: str) -> list[str]:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [str(path) for path in sorted(versions.glob(f"{version}.*/bin/python"))]


def _version(python: str) -> str:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


def environment(row: Row, python: str, wheel: Path) -> Path:
    """The row's Python, with the wheel in it. Made once; the wheel is put in anew each time."""
    home = HOME / row.name
    stamp = home / ".ready"
    made_by = "uv" if UV else "pip"  # the one leaves no pip behind for the other
    wanted = hashlib.sha256("\n".join([made_by, python, *row.requirements]).encode()).hexdigest()
    inside = home / "bin" / "python"
    install = [UV, "pip", "install", "--quiet", "--python", inside] if UV else [inside, *PIP, "install", "-q"]
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        run(*([UV, "venv", "--quiet", "--python", python] if UV else [python, "-m", "venv"]), home)
    # The pins go with the wheel: together they are what its own requirements have to allow. Then the wheel alone once
    # more, because one of the same version counts as installed.
    run(*install, f"livekit-plugins-openai-ga[emulator] @ {wheel.as_uri()}", *row.requirements)
    run(*install, "--force-reinstall", "--no-deps", wheel)
    run(*([UV, "pip", "check", "--quiet", "--python", inside] if UV else [inside, *PIP, "check"]))
    stamp.write_text(wanted)
    return inside


def smoke(row: Row, wheel: Path) -> dict[str, str]:
    """The row's outcome by the names of the table's columns."""
    python = interpreter(row.python)
    if python is None:
        print(f"!!! NOT RUN: {row.name}: there is no Python {row.python} on this machine", flush=True)
        return dict.fromkeys(HEAD[4:], "not run")
    try:
        inside = environment(row, python, wheel)
        done = subprocess.run([inside, SMOKE], cwd=HOME, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        print(f"!!! {row.name}: {exc}", flush=True)
        return dict.fromkeys(HEAD[4:], "failed")
    print(done.stdout, flush=True)
    try:
        failed = json.loads(done.stdout.splitlines()[-1])["failed"]
    except (IndexError, ValueError, KeyError):
        return dict.fromkeys(HEAD[4:], "failed")
    beside = [step for part, steps in failed.items() if part not in HEAD for step in steps]  # what has no column
    results = {name: [*failed[name], *beside] for name in HEAD[4:]}
    return {name: f"failed: {', '.join(steps)}" if steps else "ok" for name, steps in results.items()}


def main(names: list[str]) -> int:
    try:
        rows = chosen(" ".join(names))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    wheel = build_wheel()
    outcomes = {row: smoke(row, wheel) for row in rows}
    print(table(outcomes))
    results = [result for outcome in outcomes.values() for result in outcome.values()]
    if len(rows) == len(chosen("")) and "not run" not in results:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(page.replace("\n".join(written(page)), table(outcomes)), encoding="utf-8")
    for row, outcome in outcomes.items():
        if "not run" in outcome.values():
            print(f"not run: {row.name}", file=sys.stderr)
    missing = "not run" in results if names else set(results) == {"not run"}
    return int(missing or any(result.startswith("failed") for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
