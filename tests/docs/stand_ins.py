"""Stands in for commands of the pages that do their work elsewhere. Each looks at as much of it as can be seen here.

`git clone` gives this project, under the name that the page goes on with; `make` shows what it would do (CI does it);
`pip install` reads the requirements, and knows this project's extras and what is installed here; `lk` is
not here, so only its file is looked for; `parse` is one of this project's commands, which takes its arguments and
does nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = "livekit-plugins-openai-ga"


def git(arguments: list[str]) -> int:
    if arguments[:1] != ["clone"]:
        return 1
    Path(PROJECT).symlink_to(ROOT)
    return 0


def make(arguments: list[str]) -> int:
    path = os.environ["PATH"].partition(os.pathsep)[2]  # without the folder that this stands in
    program = shutil.which("make", path=path) or "make"
    return subprocess.run([program, "-n", "-C", ROOT, *arguments], env={**os.environ, "PATH": path}).returncode


def pip(arguments: list[str]) -> int:
    if arguments[:1] != ["install"] or len(arguments) < 2:
        return 1
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text().split("optional-dep")[1], re.M))
    for argument in arguments[1:]:
        wanted = Requirement(argument)
        if wanted.name == PROJECT:
            assert wanted.extras <= extras, f"no such extra: {wanted}"
        else:
            metadata.version(wanted.name)
    return 0


def parse(arguments: list[str]) -> int:
    from livekit_plugins_openai_ga import cli

    entry = next(each for each in cli.COMMANDS if each.name == arguments[0])
    parser = argparse.ArgumentParser()
    entry.load().add_arguments(parser)
    parser.parse_args(arguments[1:])
    return 0


def files(arguments: list[str]) -> int:
    named = [argument for argument in arguments if re.search(r"\w[/.]\w", argument) and ":" not in argument]
    return 0 if named and all(Path(name).exists() for name in named) else 1


if __name__ == "__main__":
    does = {"git": git, "make": make, "pip": pip, "parse": parse, "lk": files}
    sys.exit(does[sys.argv[1]](sys.argv[2:]))
