"""`livekit-openai-ga doctor`: opens one session, step by step, and says which step fails and what to do about it.

The session is a real one: at OpenAI it costs less than a cent.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from .. import azure
from ..connection import LOCAL_KEY, Connection
from ..log import logger
from ..realtime import RealtimeModel
from ..redaction import redact
from ..stt import STT
from ..translation import Translator
from ..wire.endpoint import Service
from ..wire.session import Payload
from . import doctor_steps as steps
from .doctor_page import Page, as_json, terminal_width
from .doctor_probes import Asked, Examination, Plan
from .doctor_steps import Outcome, Session, Status
from .output import Output

NAME = "doctor"

TIMEOUT_S = 10.0
_LONGEST_TIMEOUT_S = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes. Keys come from the environment only: arguments can be read by everybody."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["steps:", *(f"  {step.name:14} {step.what}" for step in steps.STEPS)])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--stt", action="store_true", help="try speech to text instead of a conversation")
    kind.add_argument("--translate", action="store_true", help="try a translation instead")
    parser.add_argument("--model", help="default: the plugin's for this kind of session; on Azure, the deployment")
    parser.add_argument("--base-url", metavar="URL", help="default: $OPENAI_BASE_URL, or OpenAI's own server")
    parser.add_argument(
        "--azure",
        action="store_true",
        help="Azure OpenAI: $AZURE_OPENAI_ENDPOINT (or --base-url), $AZURE_OPENAI_API_KEY or $AZURE_OPENAI_AD_TOKEN",
    )
    parser.add_argument("--allow-insecure", action="store_true", help="allow http:// and ws:// to another machine")
    parser.add_argument(
        "--timeout", type=_seconds, default=TIMEOUT_S, metavar="S", help="seconds one wait may take (default 10)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON value instead of lines")


def run(options: argparse.Namespace) -> int:
    """Examine and tell. Returns 0 when nothing failed, 1 when something did, 2 for settings that cannot be used."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what it would say of the model, a step says
    try:
        try:
            plan = planned(options)
        except ValueError as exc:
            Output(sys.stderr).line(redact(str(exc)))
            return 2
        return steps.exit_code(asyncio.run(_examine(options, plan)))
    finally:
        logger.setLevel(level)


async def _examine(options: argparse.Namespace, plan: Plan) -> list[Outcome]:
    examination = Examination(plan)
    output = Output(sys.stdout)
    if options.json:
        outcomes = await examination.run(lambda outcome: None)
        output.json(as_json(plan.kind, plan.model, examination.address, outcomes))
        return outcomes
    page = Page(output, terminal_width())
    page.head(plan.kind, plan.model, examination.address)
    outcomes = await examination.run(page.show)
    page.end(outcomes)
    return outcomes


def planned(options: argparse.Namespace) -> Plan:
    """What is to be examined. Raises ValueError, one sentence, for settings that cannot be used."""
    kind: Session = "transcription" if options.stt else "translation" if options.translate else "conversation"
    if options.azure and kind == "translation":
        raise ValueError("--azure has no translation sessions: leave out --translate.")
    if options.azure and not options.model:
        raise ValueError("--model is missing: on Azure, name the deployment.")
    model = options.model or steps.DEFAULT_MODEL[kind]
    given: dict[str, Any] = {"allow_insecure": options.allow_insecure}
    if options.base_url:
        given["base_url"] = options.base_url
    make = azure.connection if options.azure else Connection.create
    somebody = make(api_key=LOCAL_KEY, **given)
    name, raw = _key(options.azure)
    key = steps.key_verdict(
        raw,
        source=name,
        local=somebody.endpoint(Service.UPLOAD).is_local,
        native=somebody.is_native,
    )
    if key.status is Status.FAILED or not (raw or "").strip():
        given["api_key"] = LOCAL_KEY
    return Plan(kind, model, key, make(**given), lambda: _session(options, kind, model, given), options.timeout)


def _key(on_azure: bool) -> tuple[str, str | None]:
    """The setting that holds the key, and the key as it stands there."""
    if not on_azure:
        return "OPENAI_API_KEY", os.environ.get("OPENAI_API_KEY")
    token = os.environ.get("AZURE_OPENAI_AD_TOKEN")  # goes before the key, as in `azure.connection`
    if token:
        return "AZURE_OPENAI_AD_TOKEN", token
    return "AZURE_OPENAI_API_KEY", os.environ.get("AZURE_OPENAI_API_KEY")


def _session(options: argparse.Namespace, kind: Session, model: str, given: Mapping[str, Any]) -> tuple[Asked, Payload]:
    """The options that an agent's session would have, without turn detection, and the session that they ask for."""
    if kind == "translation":
        interpreter = Translator(target_language="es", model=model, **given).options
        return interpreter, interpreter.payload()
    if kind == "transcription":
        quiet: dict[str, Any] = {"turn_detection": None, "vad": None, **given}
        stt = STT.with_azure(azure_deployment=model, **quiet) if options.azure else STT(model=model, **quiet)
        return stt.options, stt.options.payload()
    silent: dict[str, Any] = {"turn_detection": None, **given}
    if options.azure:
        conversation = RealtimeModel.with_azure(azure_deployment=model, **silent).options
    else:
        conversation = RealtimeModel(model=model, **silent).options
    return conversation, conversation.session_payload(None, [])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= _LONGEST_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0.1 and 600")
    return seconds
