"""The file: who may read it, what it is called, when it is written, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from livekit_plugins_openai_ga.recording import Header, Recorder, read
from livekit_plugins_openai_ga.recording.recorder import FLUSH_BYTES, RecordingFile, chosen
from livekit_plugins_openai_ga.recording.scrub import Scrub
from tests.simulation.network import Network
from tests.simulation.run import simulate

EVENT = {"type": "response.created", "response": {"id": "resp_1"}}


def begun(directory: Path, **options: bool) -> RecordingFile:
    file = Recorder(directory, **options).begin(Header(kind="realtime", model="gpt-realtime-2.1"))
    assert file is not None
    return file


@pytest.fixture
def open_to_all():
    """A process that lets everybody read what it writes, if nobody minds."""
    before = os.umask(0)
    yield
    os.umask(before)


async def test_only_its_owner_may_read_a_recording_or_look_into_its_folder(tmp_path, open_to_all):
    file = begun(tmp_path / "calls")
    file.close()
    assert stat.S_IMODE((tmp_path / "calls").stat().st_mode) == 0o700
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


async def test_a_file_is_named_by_its_time_and_kind(tmp_path):
    file = begun(tmp_path)
    file.close()
    assert re.fullmatch(r"\d{8}T\d{6}Z-realtime-[0-9a-f]{6}\.jsonl", file.path.name)


async def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    begun(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


async def test_entries_have_their_time_and_their_connection(tmp_path):
    file = begun(tmp_path)
    file.link = 1
    file.write("in", EVENT)
    file.write("out", {"type": "response.cancel"})
    file.close()
    recording = read(file.path)
    assert [(e.link, e.direction, e.event["type"]) for e in recording.entries] == [
        (1, "in", "response.created"),
        (1, "out", "response.cancel"),
        (1, "note", "closed"),
    ]
    assert 0 <= recording.entries[0].t_ms <= recording.entries[1].t_ms < 60_000
    assert recording.header.at > 1_700_000_000


def test_what_happened_is_in_the_file_a_second_later(tmp_path):
    sizes: list[int] = []

    async def scene(_: Any) -> None:
        file = begun(tmp_path)
        file.write("in", EVENT)
        sizes.append(file.path.stat().st_size)
        await asyncio.sleep(1.1)
        sizes.append(file.path.stat().st_size)
        await asyncio.sleep(5)
        file.write("in", EVENT)
        sizes.append(file.path.stat().st_size)
        await asyncio.sleep(1.1)
        sizes.append(file.path.stat().st_size)

    assert simulate(1, Network(), scene).violations == []
    assert sizes[0] == 0 < sizes[1] == sizes[2] < sizes[3]


async def test_much_is_written_at_once_so_that_little_is_held(tmp_path):
    file = begun(tmp_path, audio=True)
    file.write("in", {"type": "response.output_audio.delta", "delta": "A" * FLUSH_BYTES})
    assert file.path.stat().st_size > FLUSH_BYTES
    file.close()


async def test_a_full_disk_ends_the_recording_with_one_warning(caplog):
    file = RecordingFile(Path("/dev/full"), os.open("/dev/full", os.O_WRONLY), Header(), Scrub())
    for _ in range(2000):
        file.write("in", EVENT)
    file.flush()
    file.close()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the recording /dev/full ends here, the session goes on" in record.getMessage()
    assert "No space left on device" in record.getMessage()


async def test_a_folder_that_is_a_file_is_told_and_nothing_is_recorded(tmp_path, caplog):
    (tmp_path / "calls").write_text("")
    assert Recorder(tmp_path / "calls").begin(Header()) is None
    assert "nothing is recorded" in caplog.text
    assert "name a folder" in caplog.text


async def test_a_folder_that_vanishes_ends_the_recording_with_one_warning_and_the_next_session_makes_it_again(
    tmp_path, caplog
):
    recorder = Recorder(tmp_path / "calls")
    first = recorder.begin(Header())
    assert first is not None
    first.flush()
    first.path.unlink()
    first.path.parent.rmdir()
    for _ in range(2):
        first.write("in", EVENT)
        first.flush()
    first.close()
    (record,) = caplog.records
    assert "ends here, the session goes on: it cannot be written (it was deleted)" in record.getMessage()
    second = recorder.begin(Header())
    assert second is not None
    second.close()
    assert second.path.exists()


async def test_the_folder_of_a_user_that_there_is_not_is_told_and_nothing_is_recorded(caplog):
    assert Recorder("~nobody-of-this-name/calls").begin(Header()) is None
    assert "nothing is recorded" in caplog.text


class Odd(dict[str, Any]):
    """What only an application could make."""

    def items(self) -> Any:
        raise AttributeError("odd")


async def test_whatever_an_event_is_the_call_goes_on(tmp_path):
    file = begun(tmp_path)
    file.write("out", {"type": "session.update", "session": Odd()})
    file.write("out", {"type": "session.update", "session": {1: "low"}})
    file.close()
    entries = read(file.path).entries
    assert [entry.event["type"] for entry in entries] == ["unwritable", "session.update", "closed"]
    assert entries[1].event["session"] == {"1": "low"}


async def test_what_is_too_deep_is_noted_and_the_rest_goes_on(tmp_path):
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(100_000):
        inner["item"] = inner = {}
    file = begun(tmp_path)
    file.write("out", {"type": "session.update", "session": deep})
    file.write("in", {"type": "error", "error": {"message": "half a pair: \ud800"}})
    file.close()
    entries = read(file.path).entries
    assert [entry.event["type"] for entry in entries] == ["unwritable", "error", "closed"]


async def test_nothing_is_written_behind_the_end(tmp_path):
    file = begun(tmp_path)
    file.close()
    file.write("in", EVENT)
    file.flush()
    file.close()
    assert [entry.event["type"] for entry in read(file.path).entries] == ["closed"]


_DIES = """
import asyncio, sys
from livekit_plugins_openai_ga.recording import Header, Recorder
async def main():
    file = Recorder(sys.argv[1]).begin(Header())
    file.write("in", {"type": "response.created"})
    raise SystemExit("something went wrong")
asyncio.run(main())
"""


def test_an_interpreter_that_ends_in_the_middle_of_a_call_writes_the_rest(tmp_path):
    done = subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == "something went wrong\n"
    (path,) = tmp_path.iterdir()
    assert [entry.event["type"] for entry in read(path).entries] == ["response.created"]


_MULTIPROCESSING = """
import asyncio, multiprocessing, sys
from livekit_plugins_openai_ga.recording import Header, Recorder
def work(folder):
    kept = []
    async def main():
        kept.append(Recorder(folder).begin(Header()))
        kept[0].write("in", {"type": "response.created"})
        raise RuntimeError("something went wrong")
    asyncio.run(main())
if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=work, args=sys.argv[1:])
    process.start()
    process.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_child_of_multiprocessing_that_fails_writes_the_rest(tmp_path):
    command = [sys.executable, "-c", _MULTIPROCESSING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "something went wrong" in done.stderr
    (path,) = tmp_path.iterdir()
    assert [entry.event["type"] for entry in read(path).entries] == ["response.created"]


_FORKS = """
import asyncio, os, sys
from livekit_plugins_openai_ga.recording import Header, Recorder
async def main():
    file = Recorder(sys.argv[1]).begin(Header())
    file.write("in", {"type": "response.created"})
    if os.fork() == 0:
        sys.exit()
    os.wait()
    print(file.path.stat().st_size)
    file.close()
asyncio.run(main())
"""


def test_a_forked_process_does_not_write_its_parents_lines(tmp_path):
    done = subprocess.run([sys.executable, "-c", _FORKS, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr
    (path,) = tmp_path.iterdir()
    assert [entry.event["type"] for entry in read(path).entries] == ["response.created", "closed"]


@pytest.mark.parametrize("directory", ["", None, 7])
def test_a_recorder_without_a_folder_is_refused(directory):
    with pytest.raises(ValueError, match=r"directory=.*pass the folder"):
        Recorder(directory)


def test_a_recorder_with_a_wrong_switch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="redact='yes' is not supported: use True or False"):
        Recorder(tmp_path, redact="yes")


def test_a_path_is_no_recorder():
    with pytest.raises(ValueError, match=r"recorder='calls' is not supported: pass Recorder\('folder'\), or False"):
        chosen("calls")


@pytest.mark.parametrize(("said", "kept"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)])
def test_the_environment_says_what_is_recorded(monkeypatch, tmp_path, said, kept):
    monkeypatch.setenv("OPENAI_GA_RECORD", str(tmp_path))
    monkeypatch.setenv("OPENAI_GA_RECORD_AUDIO", said)
    monkeypatch.setenv("OPENAI_GA_RECORD_REDACT", said)
    assert chosen(None) == Recorder(str(tmp_path), audio=kept, redact=kept)
    assert chosen(False) is None


def test_a_switch_in_the_environment_that_is_neither_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_GA_RECORD", str(tmp_path))
    monkeypatch.setenv("OPENAI_GA_RECORD_REDACT", "please")
    with pytest.raises(ValueError, match="OPENAI_GA_RECORD_REDACT='please' is not known: use 1 or 0"):
        chosen(None)


def test_nothing_is_recorded_when_nobody_asks_for_it(monkeypatch):
    monkeypatch.delenv("OPENAI_GA_RECORD", raising=False)
    assert chosen(None) is None


async def test_a_line_is_one_line_whatever_is_in_it(tmp_path):
    file = begun(tmp_path)
    file.write("in", {"type": "error", "error": {"message": "one\ntwo\u2028three\x85\r"}})
    file.close()
    lines = file.path.read_bytes().split(b"\n")
    assert [set(json.loads(line)) & {"in", "note", "recording"} for line in lines if line] == [
        {"recording"},
        {"in"},
        {"note"},
    ]
