"""A recording as a pytest: it runs the session again, and fails when it goes another way or tells something else."""

from __future__ import annotations

import os
from pathlib import Path

from .rerun import Run

_PAGE = '''\
"""A recorded session, again. Made by `livekit-openai-ga replay`.

The recorded server is played to the plugin, and the calls that the application made are made again. TOLD is what the
application was told when this file was made: change it to what it should be told, and the test fails until that is so.
"""

{title}

from pathlib import Path

from livekit_plugins_openai_ga.replay import rerun

RECORDING = Path(__file__).parent / {recording!r}

ASKED = {asked}

TOLD = {told}


def test_the_client_does_what_it_did():
    run = rerun(RECORDING)
    assert "\\n".join(map(str, run.differences)) == ""
    assert list(run.asked) == ASKED


def test_the_application_is_told_what_it_was_told():
    assert list(rerun(RECORDING).told) == TOLD
'''

_MOST = 116
"""Characters of a title."""


def page(recording: str, run: Run, title: str) -> str:
    """The source of the test. `recording`: the name of its file, beside the test.

    A recording may come from anybody: what stands in it is a comment of one line here, or a literal.
    """
    return _PAGE.format(title=_comment(title), recording=recording, asked=_listed(run.asked), told=_listed(run.told))


def _comment(text: str) -> str:
    # Below the docstring: in the first two lines a comment can name the encoding of all that follows.
    return "# " + "".join(sign if sign.isprintable() else " " for sign in text[:_MOST])


def _listed(lines: tuple[str, ...]) -> str:
    if not lines:
        return "[]"
    return "[\n" + "".join(f"    {line!r},\n" for line in lines) + "]"


def beside(recording: Path, test: Path) -> Path:
    """Have the recording in the directory of the test, with the rights it has. Returns its path there.

    Raises FileExistsError when another file of its name is there, and OSError when it cannot be copied.
    """
    there = test.parent / recording.name
    if there.exists():
        if there.samefile(recording) or there.read_bytes() == recording.read_bytes():
            return there
        raise FileExistsError(f"{there} is another file: rename the recording, or write the test elsewhere.")
    with open(os.open(there, os.O_WRONLY | os.O_CREAT | os.O_EXCL, recording.stat().st_mode & 0o777), "wb") as file:
        file.write(recording.read_bytes())
    return there
