"""A LiveKit server on this machine: where it is found, how it gets there, what it says when it does not start."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest
from livekit import api

from livekit_plugins_openai_ga.devtools import livekit_server as module
from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer, cached, find, install, livekit_server

# Answers at the port of its configuration, like the real one.
STAND_IN = f"""#!{sys.executable}
import http.server, json, sys
configuration = json.loads(sys.argv[sys.argv.index("--config-body") + 1])
print(json.dumps(sys.argv[1:]), flush=True)
http.server.HTTPServer(("127.0.0.1", configuration["port"]), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# `go install` puts a program called server into $GOBIN.
GO = """#!/bin/sh
echo "$@" > "$GOBIN/server"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH; the cache is an empty one beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_is_taken_before_the_one_in_the_cache(path: Path) -> None:
    assert find() is None
    mine = program(cached(), STAND_IN)
    assert find() == str(mine)
    theirs = program(path / "livekit-server", STAND_IN)
    assert find() == str(theirs)


def test_the_cache_is_in_the_users_home_and_knows_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cached().is_relative_to(Path.home() / ".cache")
    assert module.VERSION in cached().parts


@pytest.mark.usefixtures("path")
def test_without_go_the_user_is_told_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match=r"install Go \(https://go.dev/dl\) or livekit-server itself"):
        install()
    assert module.main() == 1
    assert "install Go" in capsys.readouterr().err


def test_go_builds_the_pinned_release_once(path: Path) -> None:
    go = program(path / "go", GO)
    built = install()
    assert built == cached()
    assert built.read_text() == f"install {module.MODULE}@{module.VERSION}\n"
    assert list(built.parent.iterdir()) == [built]
    go.unlink()
    assert install() == built


def test_a_build_that_fails_leaves_nothing_behind(path: Path) -> None:
    program(path / "go", "#!/bin/sh\nexit 1\n")
    with pytest.raises(RuntimeError, match="Go could not build livekit-server"):
        install()
    assert not cached().exists()
    assert list(cached().parent.iterdir()) == []


def test_the_version_is_told_and_another_one_is_remarked_on(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(path / "livekit-server", "#!/bin/sh\necho livekit-server version 1.0.0\n")
    assert module.main() == 0
    told = capsys.readouterr()
    assert "version 1.0.0" in told.out
    assert module.VERSION in told.err


def test_it_runs_on_loopback_for_as_long_as_the_block_lasts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with livekit_server(str(program(tmp_path / "server", STAND_IN)), log=log) as server:
        assert server.url.startswith("ws://127.0.0.1:")
        address = server.url.replace("ws:", "http:")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5.0)
    arguments = json.loads(log.read_text().splitlines()[0])
    configuration = json.loads(arguments[-1])
    assert configuration["bind_addresses"] == ["127.0.0.1"]
    assert configuration["keys"] == {server.api_key: server.api_secret}
    assert configuration["rtc"]["node_ip"] == "127.0.0.1"


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    broken = program(tmp_path / "server", "#!/bin/sh\necho listening\necho no such port >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match=r"did not start: listening \| no such port"), livekit_server(str(broken)):
        pytest.fail("it did start")


def test_a_token_opens_one_room_for_one_person() -> None:
    server = LiveKitServer("ws://127.0.0.1:7880")
    claims = api.TokenVerifier(server.api_key, server.api_secret).verify(server.token("Ada", "lobby"))
    assert (claims.identity, claims.kind) == ("Ada", "")
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room, claims.video.agent) == (True, "lobby", False)


def test_an_agents_token_makes_it_an_agent() -> None:
    server = LiveKitServer("ws://127.0.0.1:7880")
    claims = api.TokenVerifier(server.api_key, server.api_secret).verify(server.token("agent", "lobby", agent=True))
    assert claims.kind == "agent"
    assert claims.video is not None
    assert claims.video.agent


def test_the_secret_is_in_the_environment_and_not_in_what_is_printed() -> None:
    server = LiveKitServer("ws://127.0.0.1:7880", "key", "very secret")
    assert server.environment == {
        "LIVEKIT_URL": "ws://127.0.0.1:7880",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "very secret",
    }
    assert "very secret" not in repr(server)
