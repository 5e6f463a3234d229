"""`make room`: a LiveKit server, a worker with an agent, and a caller in a room with it, all on this machine.

The caller plays a recording as its microphone, hears the agent's track, interrupts it, and leaves; the call becomes a
stereo WAV file and a timeline. The agent is a file like any worker's, run as its user would run it; it talks to the
emulator, or with `--live` to OpenAI. With `--open` a person takes the caller's place.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import urllib.parse
import uuid
from collections.abc import Sequence
from pathlib import Path

from livekit.agents.voice import RemoteSession

from .call import CallerAudio
from .ending import end
from .livekit_server import LiveKitServer, find, livekit_server
from .minutes import Minutes
from .played_call import (
    add_arguments,
    announce,
    answering,
    checked,
    first_of,
    follow,
    hanging_up,
    log_to_stderr,
    report,
    say,
    say_what_the_emulator_is,
)
from .room_caller import RoomCaller
from .room_minutes import RoomReader
from .wav import CallRecording
from .worker import REGISTERED, START_SECONDS, Worker, WorkerFailed, running

AGENT = Path("examples/agent.py")
IDENTITY = "caller"
_AGENT_SECONDS = 30.0
_GREETING_SECONDS = 10.0
_QUIET_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.1


async def hold_call(
    livekit: LiveKitServer, worker: Worker, pcm: bytes, *, hang_up: asyncio.Event
) -> tuple[CallRecording, Minutes]:
    """One call with the caller's recording (24 kHz int16 mono PCM), until it is over or `hang_up` is set.

    Raises:
        WorkerFailed: The agent did not come, or its worker ended.
    """
    loop = asyncio.get_running_loop()
    zero = loop.time()
    recording = CallRecording()
    microphone = CallerAudio(pcm, recording, zero=zero)
    minutes = Minutes(microphone, clock=lambda: loop.time() - zero, follow=follow)
    reader = RoomReader(minutes)
    room = f"call-{uuid.uuid4().hex[:6]}"
    async with RoomCaller.join(livekit.url, livekit.token(IDENTITY, room)) as caller:
        session = RemoteSession.from_room(caller.room, "")
        reader.attend(session)
        await session.start()
        try:
            await first_of(_call(caller, microphone, minutes, worker), worker.watch(), hang_up.wait())
        finally:
            await session.aclose()
        ear = caller.agent_ear
    if ear is not None and ear.began is not None:
        recording.add("agent", ear.began - zero, bytes(ear.pcm))
    reader.close(ear, zero)
    return recording, minutes


async def _call(caller: RoomCaller, microphone: CallerAudio, minutes: Minutes, worker: Worker) -> None:
    await caller.publish_microphone(microphone)
    minutes.note("the caller is in the room")
    try:
        await caller.until(lambda: caller.agent, timeout=_AGENT_SECONDS)
    except TimeoutError:
        raise WorkerFailed(f"No agent came within {_AGENT_SECONDS:.0f} s. The worker says:\n{worker.said()}") from None
    minutes.note("the agent is in the room")
    with contextlib.suppress(TimeoutError):  # an agent may wait for the caller to speak first
        await caller.until(lambda: caller.agent_state == "speaking", timeout=_GREETING_SECONDS)
    with contextlib.suppress(TimeoutError):
        await caller.until(lambda: caller.agent_state != "speaking", timeout=_PATIENCE_SECONDS)
    microphone.speak()
    await microphone.finished.wait()
    loop = asyncio.get_running_loop()
    quiet_since, deadline = loop.time(), loop.time() + _PATIENCE_SECONDS
    while loop.time() < min(quiet_since + _QUIET_SECONDS, deadline) and caller.agent is not None:
        if caller.agent_state in ("speaking", "thinking"):
            quiet_since = loop.time()
        await asyncio.sleep(_POLL_SECONDS)


def _invite(livekit: LiveKitServer) -> None:
    """Tell a person how to take the caller's place."""
    token = livekit.token("guest", f"open-{uuid.uuid4().hex[:6]}", hours=12)
    query = urllib.parse.urlencode({"liveKitUrl": livekit.url, "token": token})
    say("Join with any LiveKit client on this machine, and speak. Ctrl-C ends it.")
    print(
        f"\nURL    {livekit.url}\nToken  {token}\n\nIn a browser: https://meet.livekit.io/custom?{query}\n", flush=True
    )


async def _run(options: argparse.Namespace, program: str, pcm: bytes) -> int:
    bundled = options.wav is None and not options.open
    async with contextlib.AsyncExitStack() as stack:
        hang_up = stack.enter_context(hanging_up())
        livekit = stack.enter_context(livekit_server(program))
        model = await stack.enter_async_context(answering(live=options.live, bundled=bundled))
        worker = await stack.enter_async_context(
            running(options.agent, "dev", "--no-reload", environment={**livekit.environment, **model}, ready=None)
        )
        await first_of(worker.until_logged(REGISTERED, timeout=START_SECONDS), hang_up.wait())
        if hang_up.is_set():
            return 130
        if options.open:
            _invite(livekit)
            await first_of(worker.watch(), hang_up.wait())
            return 0
        recording, minutes = await hold_call(livekit, worker, pcm, hang_up=hang_up)
    return report(recording, minutes, options.out, interrupted=hang_up.is_set())


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the call and print it. Returns 0, 1 when the call failed, 2 for bad arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m livekit_plugins_openai_ga.devtools.room",
        description="Play a caller's recording to an agent in a room of a local LiveKit server.",
    )
    add_arguments(parser, out="room-call.wav")
    parser.add_argument("--agent", metavar="FILE", default=str(AGENT), help=f"the worker (default: {AGENT})")
    parser.add_argument("--open", action="store_true", help="print how a person can join, instead of playing a caller")
    options = parser.parse_args(arguments)
    try:
        pcm = checked(options)
        program = find()
        if program is None:
            raise ValueError("There is no livekit-server here: `make livekit-server` installs it.")
        if not Path(options.agent).is_file():
            raise ValueError(f"--agent {options.agent} is not there: name the file of a LiveKit worker.")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    log_to_stderr()
    if not options.open:
        announce(options, pcm)
    elif not options.live:
        say_what_the_emulator_is(options)
    try:
        return asyncio.run(_run(options, program, pcm))
    except KeyboardInterrupt:
        return 130
    except (OSError, RuntimeError, WorkerFailed) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    end(main())
