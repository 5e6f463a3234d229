"""LiveKit's `RealtimeModel` on GA: holds the options and makes sessions. A swap-in for the official plugin's class."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import aiohttp
from livekit.agents import APIConnectOptions, llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import is_given

from .. import azure, models
from .. import options as opts
from ..audio import CHUNK_MS
from ..connection import DEFAULT_HEARTBEAT, Connection, KeyProvider
from ..framework import flat_tools, plain_instructions
from ..images import DEFAULT_IMAGES, Images
from ..prices import Price
from ..transport.link import Link
from ..transport.prewarmed import Prewarmed
from . import mapping
from .call import CallSession
from .session import RealtimeSession

if TYPE_CHECKING:
    from typing import Unpack

    from .keywords import SessionOptions


class RealtimeModel(llm.RealtimeModel):
    """OpenAI's GA Realtime API as a LiveKit realtime model.

    Keyword-compatible with `livekit.plugins.openai.realtime.RealtimeModel` 1.8.9. Objects of the openai SDK (GA, and
    the retired beta shapes) are accepted wherever a dict is; the SDK itself is not needed.
    """

    def __init__(
        self,
        *,
        model: str = models.DEFAULT_REALTIME,
        voice: Any = NOT_GIVEN,
        modalities: NotGivenOr[list[Literal["text", "audio"]]] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN,
        base_url: NotGivenOr[str] = NOT_GIVEN,
        input_audio_transcription: NotGivenOr[Any] = NOT_GIVEN,
        input_audio_noise_reduction: NotGivenOr[Any] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        speed: NotGivenOr[float] = NOT_GIVEN,
        tracing: NotGivenOr[Any] = NOT_GIVEN,
        truncation: NotGivenOr[Any] = NOT_GIVEN,
        reasoning: NotGivenOr[Any] = NOT_GIVEN,
        max_output_tokens: NotGivenOr[int | Literal["inf"] | None] = NOT_GIVEN,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        prompt: NotGivenOr[Any] = NOT_GIVEN,
        include: NotGivenOr[list[str] | None] = NOT_GIVEN,
        api_key: str | KeyProvider | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        http_session: aiohttp.ClientSession | None = None,
        max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        heartbeat: float = DEFAULT_HEARTBEAT,
        reply_timeout: float = 10.0,
        request_timeout: float = 5.0,
        resume_replies: opts.ResumeReplies = "unheard",
        max_replay_audio: float = opts.DEFAULT_REPLAY_AUDIO,
        input_chunk_ms: float = CHUNK_MS,
        input_audio_format: NotGivenOr[Any] = NOT_GIVEN,
        output_audio_format: NotGivenOr[Any] = NOT_GIVEN,
        fallback_models: Sequence[str] = (),
        images: Images = DEFAULT_IMAGES,
        read_aloud: bool = False,
        recorder: opts.RecorderOption = None,
        call_id: str | None = None,
        prices: Mapping[str, Price] | None = None,
        max_cost: float | None = None,
        temperature: NotGivenOr[float] = NOT_GIVEN,
        _azure: Connection | None = None,
    ) -> None:
        """Check the options and remember them; no socket is opened before `session()` or `prewarm()`.

        Args:
            model: default `gpt-realtime-2.1`. A model that is being shut down is named with its date and replacement.
            voice: default `marin`; a name, or `{"id": "voice_..."}` for a custom one. Fixed once the agent spoke.
            modalities: `["audio"]` (default; a transcript comes along) or `["text"]`. Both together mean audio.
            tool_choice: `auto` (default), `none`, `required`, one function, or a tool of an MCP server:
                `{"type": "mcp", "server_label": ..., "name": ...}`.
            base_url: default `$OPENAI_BASE_URL`, else `https://api.openai.com/v1`. http(s) or ws(s); path prefixes and
                query parameters are kept.
            input_audio_transcription: default `{"model": "gpt-transcribe"}`; None turns user transcripts off.
            input_audio_noise_reduction: `near_field`, `far_field` or None (default).
            turn_detection: default semantic VAD of medium eagerness; None leaves turn taking to the agent.
            speed: 0.25 to 1.5, default 1.0.
            tracing: None, `auto` or a dict. Cannot be changed once on.
            truncation: `auto`, `disabled` or `{"type": "retention_ratio", "retention_ratio": ...}`.
            reasoning: for reasoning models, for example `{"effort": "low"}`.
            max_output_tokens: for one reply; a number or `inf` (default).
            parallel_tool_calls: for reasoning models.
            prompt: a stored prompt, `{"id": "pmpt_..."}`.
            include: `["item.input_audio_transcription.logprobs"]` gives transcripts a confidence.
            api_key: a key, a client secret (`ek_...`), or a function that gives one, plain (it runs in a thread) or
                async, which is asked for every connection. Default `$OPENAI_API_KEY`.
            extra_headers: sent with the WebSocket handshake, for example `OpenAI-Project`.
            extra_query: added to the URL.
            allow_insecure: allow a plain-text `ws://` or `http://` base to another host; the key then travels in clear.
            http_session: accepted, does nothing.
            max_session_duration: seconds until a connection is replaced at a calm moment; default 3000, None never. The
                server ends every session after 3600 s.
            conn_options: number of attempts in a row, seconds between them, and seconds one may take.
            heartbeat: seconds between pings. A peer without a sign of life for twice that is taken for dead.
            reply_timeout: seconds a reply may take to begin once it was asked for.
            request_timeout: seconds OpenAI may take to answer a change of instructions, tools or history, default 5.0.
                Then the connection is replaced and the change made on the next one; after as long there, it raises.
            resume_replies: `unheard` (default): a reply of which nothing was heard when the connection broke is asked
                for once more on the next one. `never`: it fails.
            max_replay_audio: seconds of user audio that are kept for the next connection, default 30: what was said
                since the last turn. Beyond it the oldest is dropped, and counted.
            input_chunk_ms: milliseconds of user audio that a message carries at least, 1 to 100, default 20. Less is
                sooner at the server, and more messages; a longer frame of the room leaves at once, whole.
            input_audio_format: what OpenAI hears: `pcm` (default, 24 kHz), or `pcmu` or `pcma` (G.711, 8 kHz) for a
                telephone room, whose audio then is not resampled to 24 kHz and back.
            output_audio_format: what OpenAI speaks; the same names. G.711 gives the room frames of 8 kHz.
            fallback_models: asked for, in order, when `model` is refused as unknown, shut down or not supported, in the
                middle of a call, too: the conversation goes on with the next one, and sessions made later begin with
                it. The session's event `model_changed` tells.
            images: which links to images are fetched, how large frames may be, how many of a video are sent.
            read_aloud: `AgentSession.say` without a TTS asks the model to read the text aloud, which it may do in other
                words (the session's event `said_otherwise` tells). Default False: GA has no speech from a given text.
            recorder: a `Recorder`, which writes what every session says and hears to a file. None (default): one if
                `$OPENAI_GA_RECORD` names a folder; False: never. See docs/timeline.md.
            call_id: the id (`rtc_...`) of a WebRTC or SIP call that runs on OpenAI: the session attaches to it, and
                begins no conversation of its own. Tools, instructions and transcripts work as always; the audio runs
                elsewhere, so `push_audio` is refused. Only what is passed here changes the call; it has its model. When
                it ends, the session does, with the event `call_ended`.
            prices: USD by model id, `{"my-alias": Price(...)}`, before the table of OpenAI's prices in `models`.
            max_cost: USD that a session may cost. At 80 % the session's event `cost_warning` tells, at 100 %
                `cost_limit_reached`: say goodbye then, within 10 s. A model without a price is refused.
            temperature: accepted, does nothing.

        Raises:
            ValueError: a missing key or a value GA would refuse; names the parameter and what to do.
        """
        if http_session is not None:
            opts.warn_unused("http_session")
        if is_given(temperature):
            opts.warn_unused("temperature")
        # A choice of the user's is not overruled, nor is a call's: there is no audio here to detect turns in.
        can_disable = not is_given(turn_detection) and call_id is None
        if _azure is not None and can_disable:
            turn_detection = azure.DEFAULT_TURN_DETECTION
        options = opts.Options.create(
            model=model,
            connection=_azure
            or Connection.create(
                base_url=base_url,
                api_key=api_key,
                extra_headers=extra_headers,
                extra_query=extra_query,
                allow_insecure=allow_insecure,
                conn_options=conn_options,
                heartbeat=heartbeat,
                max_session_duration=max_session_duration,
            ),
            reply_timeout=reply_timeout,
            request_timeout=request_timeout,
            resume_replies=resume_replies,
            max_replay_audio=max_replay_audio,
            input_chunk_ms=input_chunk_ms,
            fallback_models=fallback_models,
            images=images,
            read_aloud=read_aloud,
            recorder=recorder,
            call_id=call_id,
            prices=prices,
            max_cost=max_cost,
            given={
                "voice": voice,
                "modalities": modalities,
                "input_audio_format": input_audio_format,
                "output_audio_format": output_audio_format,
                "tool_choice": tool_choice,
                "input_audio_transcription": input_audio_transcription,
                "input_audio_noise_reduction": input_audio_noise_reduction,
                "turn_detection": turn_detection,
                "speed": speed,
                "tracing": tracing,
                "truncation": truncation,
                "reasoning": reasoning,
                "max_output_tokens": max_output_tokens,
                "parallel_tool_calls": parallel_tool_calls,
                "prompt": prompt,
                "include": include,
            },
        )
        self._options = options
        self._provider = urlsplit(options.endpoint().url).netloc  # metrics name it with every reply
        super().__init__(capabilities=opts.capabilities(options, can_disable_turn_detection=can_disable))
        self._sessions: weakref.WeakSet[RealtimeSession] = weakref.WeakSet()
        self._prewarmed = Prewarmed()

    @classmethod
    def with_azure(
        cls,
        *,
        azure_deployment: str,
        azure_endpoint: str | None = None,
        api_key: str | None = None,
        entra_token: str | None = None,
        azure_ad_token_provider: KeyProvider | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        input_audio_transcription: NotGivenOr[Any] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        heartbeat: float = DEFAULT_HEARTBEAT,
        **options: Unpack[SessionOptions],
    ) -> RealtimeModel:
        """A model that is deployed on Azure OpenAI, over its GA path `/openai/v1/realtime`.

        Names are those of your deployments, so only Azure can tell whether a model or a voice exists.

        Args:
            azure_deployment: name of the deployment of the realtime model.
            azure_endpoint: `https://<resource>.openai.azure.com`, with or without `/openai/v1`; default
                `$AZURE_OPENAI_ENDPOINT`.
            api_key: default `$AZURE_OPENAI_API_KEY`.
            entra_token: instead of the key, an Entra token; default `$AZURE_OPENAI_AD_TOKEN`. It lives for about an
                hour, so a call that reconnects later needs `azure_ad_token_provider`.
            azure_ad_token_provider: instead of either, a function that gives an Entra token; plain (it runs in a thread
                and may block) or async. It is asked for every connection; one that fails is asked again, within
                the attempts of `conn_options`.
            base_url: instead of `azure_endpoint`, a URL that is used as it is, such as that of a gateway.
            api_version: refused; the GA path has none. `$OPENAI_API_VERSION` is ignored.
            input_audio_transcription: default `{"model": "whisper-1"}`, as in the official plugin. Azure looks the name
                up among your deployments: name yours, here and in `update_options`. None turns it off.
            turn_detection: default server VAD (threshold 0.5, padding 300 ms, silence 200 ms).
            extra_headers, extra_query, allow_insecure, max_session_duration, conn_options, heartbeat: as in the
                constructor.
            **options: the constructor's other keywords, except `model`.

        Raises:
            ValueError: as the constructor does.
        """
        if not azure_deployment:
            raise ValueError("azure_deployment is missing: name the deployment of the realtime model.")
        connection = azure.connection(
            azure_endpoint=azure_endpoint,
            base_url=base_url,
            api_key=api_key,
            ad_token=entra_token,
            ad_token_provider=azure_ad_token_provider,
            api_version=api_version,
            extra_headers=extra_headers,
            extra_query=extra_query,
            allow_insecure=allow_insecure,
            conn_options=conn_options,
            heartbeat=heartbeat,
            max_session_duration=max_session_duration,
        )
        return cls(
            model=azure_deployment,
            input_audio_transcription=azure.transcription(input_audio_transcription),
            turn_detection=turn_detection,
            _azure=connection,
            **options,
        )

    @property
    def options(self) -> opts.Options:
        """What new sessions start with. Frozen; `update_options` replaces it."""
        return self._options

    @property
    def model(self) -> str:
        """The model that new sessions ask for: the one that was passed, until it is refused and there is another."""
        return self._options.model

    @property
    def label(self) -> str:
        """Names this class in metrics and errors."""
        return self._label

    @property
    def provider(self) -> str:
        """Host (and port, when given) of the server."""
        return self._provider

    def update_options(
        self,
        *,
        voice: NotGivenOr[Any] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN,
        input_audio_transcription: NotGivenOr[Any] = NOT_GIVEN,
        input_audio_noise_reduction: NotGivenOr[Any] = NOT_GIVEN,
        max_response_output_tokens: NotGivenOr[int | Literal["inf"] | None] = NOT_GIVEN,
        speed: NotGivenOr[float] = NOT_GIVEN,
        tracing: NotGivenOr[Any] = NOT_GIVEN,
        truncation: NotGivenOr[Any] = NOT_GIVEN,
        reasoning: NotGivenOr[Any] = NOT_GIVEN,
        max_output_tokens: NotGivenOr[int | Literal["inf"] | None] = NOT_GIVEN,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        prompt: NotGivenOr[Any] = NOT_GIVEN,
        include: NotGivenOr[list[str] | None] = NOT_GIVEN,
        extra_headers: NotGivenOr[Mapping[str, str]] = NOT_GIVEN,
        extra_query: NotGivenOr[Mapping[str, str]] = NOT_GIVEN,
        temperature: NotGivenOr[float] = NOT_GIVEN,
    ) -> None:
        """Change options of this model and of every session it has made; see the constructor for their meaning.

        `extra_headers` and `extra_query` take effect with the next connection. `max_response_output_tokens` is the
        official plugin's name for `max_output_tokens`.

        Raises:
            ValueError: as the constructor does; nothing is changed then.
        """
        given: dict[str, Any] = {
            "voice": voice,
            "turn_detection": turn_detection,
            "tool_choice": tool_choice,
            "input_audio_transcription": input_audio_transcription,
            "input_audio_noise_reduction": input_audio_noise_reduction,
            "max_response_output_tokens": max_response_output_tokens,
            "speed": speed,
            "tracing": tracing,
            "truncation": truncation,
            "reasoning": reasoning,
            "max_output_tokens": max_output_tokens,
            "parallel_tool_calls": parallel_tool_calls,
            "prompt": prompt,
            "include": include,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "temperature": temperature,
        }
        given = {name: value for name, value in given.items() if is_given(value)}
        self._options = self._options.updated(given)
        self._capabilities = opts.capabilities(
            self._options, can_disable_turn_detection=self._capabilities.can_disable_turn_detection
        )
        for session in self._sessions:
            session.update_options(**given)

    def refused(self, model: str) -> None:
        """A session was refused `model`: those made from now on ask for the next one, if there is one."""
        if self._options.model == model:
            self._options = self._options.without_model() or self._options

    def taken_back(self, refused: opts.Options, restored: opts.Options) -> None:
        """A session was refused what `update_options` had changed here, too: those made from now on do without it."""
        self._options = self._options.without_values(refused, restored)

    def session(self, *, turn_detection_disabled: bool = False) -> RealtimeSession:
        """Open a session. Needs a running event loop; connecting goes on in the background.

        `turn_detection_disabled` leaves turn taking to the agent in this session only.
        """
        kind = CallSession if self._options.call_id else RealtimeSession
        session = kind(self, turn_detection_disabled=turn_detection_disabled)
        self._sessions.add(session)
        return session

    def prewarm(
        self, *, instructions: NotGivenOr[Any] = NOT_GIVEN, tools: NotGivenOr[Sequence[Any]] = NOT_GIVEN
    ) -> None:
        """Open and configure a connection in the background, for the first session. Does nothing outside an event loop.

        Call it where the call begins, before the room is joined. With the agent's `instructions` and `tools` the
        session may ask for a reply as soon as it is there; without them, or when they changed, one round trip later.
        The connection is closed after two minutes if no session took it. One that cannot be opened is no error: the
        session dials itself then, and tells.

        Args:
            instructions: `agent.instructions`, or a text.
            tools: `agent.tools`, or any list of tools and toolsets.
        """
        spoken = self._options.audio_output
        text = plain_instructions(instructions, spoken=spoken) if is_given(instructions) else None
        payloads, _ = mapping.to_tools(flat_tools(tools) if is_given(tools) else [])
        # A call has a configuration, of which a session changes what its agent has of its own.
        told = None if self._options.call_id else self._options.session_payload(text, payloads)
        self._prewarmed.open(self._options, self._options.connection.conn_options.timeout, tell=told)

    async def dial(self, options: opts.Options) -> Link:
        """A link for a session: the one that was prewarmed, if it fits. Raises `LinkFailed`."""
        return (await self._prewarmed.dial(options, options.connection.conn_options.timeout))[0]

    async def aclose(self) -> None:
        """Close the connection that no session took. Each session owns its own and is closed by whoever opened it."""
        await self._prewarmed.aclose()
