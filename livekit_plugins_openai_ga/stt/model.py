"""LiveKit's `STT` on GA: holds the options, makes streams, transcribes whole utterances. A swap-in for the official
plugin's class."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from livekit.agents import APIConnectOptions, APIError, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer, is_given
from livekit.agents.vad import VAD

from .. import azure, models
from ..audio import CHUNK_MS
from ..connection import DEFAULT_HEARTBEAT, Connection, KeyProvider
from ..formats import PCM
from ..framework import is_heard, make, voice_detector
from ..log import logger
from ..prices import Price
from ..recording.recorder import RecorderOption
from ..transport.link import Link
from ..transport.prewarmed import Prewarmed
from ..wire.endpoint import Service
from . import client_connection, upload, utterance
from .options import DEFAULT_MAX_SEGMENT_LENGTH, Options
from .stream import SpeechStream

MAX_CHANGES = 32
"""So many changes of options can be taken back one by one; older ones have been accepted long since."""


class STT(stt.STT[str]):
    """Speech-to-text of OpenAI's GA Realtime API.

    Keyword-compatible with `livekit.plugins.openai.STT` 1.8.9, except that it streams unless `use_realtime=False`.
    Works inside a LiveKit job and in any asyncio program.
    """

    def __init__(
        self,
        *,
        language: str | list[str] = "en",
        detect_language: bool = False,
        model: str = models.DEFAULT_TRANSCRIPTION,
        prompt: NotGivenOr[str | None] = NOT_GIVEN,
        keywords: NotGivenOr[list[str]] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        noise_reduction_type: NotGivenOr[str | None] = NOT_GIVEN,
        temperature: NotGivenOr[float | None] = NOT_GIVEN,
        base_url: NotGivenOr[str] = NOT_GIVEN,
        api_key: NotGivenOr[str | KeyProvider] = NOT_GIVEN,
        client: Any = None,
        use_realtime: NotGivenOr[bool] = NOT_GIVEN,
        vad: NotGivenOr[VAD | None] = NOT_GIVEN,
        delay: NotGivenOr[str | None] = NOT_GIVEN,
        include_logprobs: bool = False,
        max_segment_length: float | None = DEFAULT_MAX_SEGMENT_LENGTH,
        model_in_url: bool | None = None,
        input_chunk_ms: float = CHUNK_MS,
        input_audio_format: Any = PCM.name,
        recorder: RecorderOption = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        http_session: aiohttp.ClientSession | None = None,
        max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
        heartbeat: float = DEFAULT_HEARTBEAT,
        prices: Mapping[str, Price] | None = None,
        max_cost: float | None = None,
        _azure: tuple[Connection, str] | None = None,
    ) -> None:
        """Check the options and remember them; nothing is opened before `stream`, `recognize` or `prewarm`.

        Args:
            language: default `en`. A list for gpt-transcribe and gpt-live-transcribe; an empty one detects it.
            detect_language: leave the language to the model.
            model: default `gpt-transcribe`. `gpt-live-transcribe` and `gpt-realtime-whisper` give text while somebody
                still speaks. A model that is being shut down is named with its date and replacement.
            prompt: what the audio is about. Not for gpt-realtime-whisper.
            keywords: words to expect. For gpt-transcribe and gpt-live-transcribe.
            turn_detection: how the server ends segments; default server VAD 0.5/600 ms/350 ms. None leaves it to `vad`.
                Not for the streaming models, which have none.
            noise_reduction_type: `near_field` or `far_field`.
            temperature: 0 to 1, for uploads; sockets have none.
            base_url: default `$OPENAI_BASE_URL`, else `https://api.openai.com/v1`. http(s) or ws(s).
            api_key: a key, or a function that gives one, sync or async, asked each time. Default `$OPENAI_API_KEY`.
            client: an `openai.AsyncClient` whose key, base URL, organization and project are used; the client itself
                is not.
            use_realtime: False gives whole utterances by upload only, with `recognize`. Default True.
            vad: LiveKit's voice activity detector that ends segments when the server does not; default, where one is
                needed: LiveKit's own. None: the caller ends them, with `flush`.
            delay: `minimal` to `xhigh`: how long a streaming model waits for more audio before it writes.
            include_logprobs: ask for log probabilities, which give finals a confidence. For models that have them.
            max_segment_length: seconds of speech after which a segment is ended; default 30, None never.
            model_in_url: whether the socket's URL names the model; default: everywhere but on api.openai.com.
            input_chunk_ms: milliseconds of audio that a message carries at least, 1 to 100; default 20.
            input_audio_format: what goes over the socket: `pcm` (default, 24 kHz), or `pcmu` or `pcma` (G.711, 8 kHz)
                for telephone audio. Uploads are PCM anyway.
            recorder: a `Recorder`, which writes what every stream says and hears to a file. None (default): one if
                `$OPENAI_GA_RECORD` names a folder; False: never. See docs/timeline.md.
            extra_headers: sent with every request.
            extra_query: added to every URL.
            allow_insecure: allow a plain-text base URL of another host; the key then travels in clear.
            http_session: for uploads; default the job's, or an own one.
            max_session_duration: seconds until a connection is replaced at a calm moment; default 3000, None never.
            heartbeat: seconds between pings. A peer without a sign of life for twice that is taken for dead.
            prices: USD by model id, `{"my-alias": Price(...)}`, before the table of OpenAI's prices in `models`.
            max_cost: USD that a stream may cost. `cost_warning` and `cost_limit_reached` tell, on this STT; 10 s later
                the stream ends. A model without a price is refused.

        Raises:
            ValueError: a missing key, or something the model does not take; names the parameter and what to do.
        """
        connection, deployment = _azure or (
            client_connection.create(
                client=client,
                base_url=base_url,
                api_key=api_key,
                extra_headers=extra_headers,
                extra_query=extra_query,
                allow_insecure=allow_insecure,
                heartbeat=heartbeat,
                max_session_duration=max_session_duration,
            ),
            "",
        )
        given = {
            "language": language,
            "detect_language": detect_language,
            "model": model,
            "deployment": deployment,
            "prompt": prompt,
            "keywords": keywords,
            "turn_detection": turn_detection,
            "noise_reduction_type": noise_reduction_type,
            "temperature": temperature,
            "use_realtime": use_realtime,
            "delay": delay,
            "include_logprobs": include_logprobs,
            "max_segment_length": max_segment_length,
            "model_in_url": model_in_url,
            "input_chunk_ms": input_chunk_ms,
            "input_audio_format": input_audio_format,
            "recorder": recorder,
        }
        self._options = self._first = Options(connection, model).changed(given).limited(prices, max_cost)
        self._changes: list[Mapping[str, Any]] = []  # what was changed since, and may be refused by a server yet
        self._vad = vad
        self._check_detector(self._options)
        self._own_vad: VAD | None = None
        self._http = upload.Http(http_session)
        self._streams: weakref.WeakSet[SpeechStream] = weakref.WeakSet()
        self._prewarmed = Prewarmed()
        super().__init__(capabilities=self._abilities())
        self._warn_of_temperature(given)

    @classmethod
    def with_azure(
        cls,
        *,
        language: str | list[str] = "en",
        detect_language: bool = False,
        model: NotGivenOr[str] = NOT_GIVEN,
        prompt: NotGivenOr[str | None] = NOT_GIVEN,
        keywords: NotGivenOr[list[str]] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        noise_reduction_type: NotGivenOr[str | None] = NOT_GIVEN,
        temperature: NotGivenOr[float | None] = NOT_GIVEN,
        azure_endpoint: str | None = None,
        azure_deployment: str | None = None,
        api_version: str | None = None,
        api_key: str | None = None,
        azure_ad_token: str | None = None,
        azure_ad_token_provider: KeyProvider | None = None,
        organization: str | None = None,
        project: str | None = None,
        base_url: str | None = None,
        use_realtime: NotGivenOr[bool] = NOT_GIVEN,
        timeout: Any = None,
        vad: NotGivenOr[VAD | None] = NOT_GIVEN,
        **options: Any,
    ) -> STT:
        """Speech-to-text of an Azure OpenAI resource, on its GA path: `<resource>/openai/v1/realtime`.

        Args:
            azure_endpoint: `https://<resource>.openai.azure.com`; default `$AZURE_OPENAI_ENDPOINT`.
            azure_deployment: the deployment's name, which Azure takes as the model; default `model`.
            model: the model behind the deployment, which decides what may be asked of it; default the deployment's
                name. `whisper-1` without either: OpenAI's newer models cannot be taken for granted there.
            api_version: refused: the dated API is retired.
            api_key: sent as `api-key`; default `$AZURE_OPENAI_API_KEY`.
            azure_ad_token: an Entra token; default `$AZURE_OPENAI_AD_TOKEN`.
            azure_ad_token_provider: gives an Entra token, sync or async; asked for every connection.
            organization: sent as a header.
            project: sent as a header.
            base_url: a URL that is used as it is, instead of `azure_endpoint`.
            timeout: accepted, does nothing; pass `conn_options` to `stream` or `recognize`.
            options: any further parameter of the constructor. The others mean what they mean there.

        Raises:
            ValueError: as the constructor does.
        """
        if timeout is not None:
            logger.warning("timeout is accepted and does nothing: pass conn_options to stream() or recognize()")
        names = ("allow_insecure", "heartbeat", "max_session_duration", "extra_query")
        scope = {"OpenAI-Organization": organization, "OpenAI-Project": project}
        headers = {name: value for name, value in scope.items() if value}
        headers |= options.pop("extra_headers", None) or {}
        connection = azure.connection(
            azure_endpoint=azure_endpoint,
            base_url=base_url,
            api_key=api_key,
            ad_token=azure_ad_token,
            ad_token_provider=azure_ad_token_provider,
            api_version=api_version,
            extra_headers=headers,
            **{name: options.pop(name) for name in names if name in options},
        )
        named = model if is_given(model) else ""
        return cls(
            language=language,
            detect_language=detect_language,
            model=named or azure_deployment or str(azure.DEFAULT_TRANSCRIPTION["model"]),
            prompt=prompt,
            keywords=keywords,
            turn_detection=turn_detection,
            noise_reduction_type=noise_reduction_type,
            temperature=temperature,
            use_realtime=use_realtime,
            vad=vad,
            _azure=(connection, azure_deployment or ""),
            **{"model_in_url": False, **options},
        )

    # -- what LiveKit asks ---------------------------------------------------------------------------------------

    @property
    def options(self) -> Options:
        """What new streams start with. Frozen; `update_options` replaces it."""
        return self._options

    @property
    def model(self) -> str:
        """The model id, as asked for."""
        return self._options.model

    @property
    def provider(self) -> str:
        """Host (and port, when given) of the server."""
        return urlsplit(self._options.connection.endpoint(Service.UPLOAD).url).netloc

    def _abilities(self) -> stt.STTCapabilities:
        streams = self._options.use_realtime
        return make(
            stt.STTCapabilities,
            streaming=streams,
            interim_results=streams,
            aligned_transcript="chunk" if streams else False,
            keyterms=self._options.takes("keywords"),
            # LiveKit may flush when nobody else ends segments; elsewhere it would only add silent ones.
            manual_flush=streams and not self._options.server_turns and self._vad is None,
        )

    def _check_detector(self, options: Options) -> None:
        if options.use_realtime and not options.server_turns and not is_given(self._vad):
            voice_detector()

    def detector(self, options: Options) -> VAD | None:
        """The detector that a stream with these options listens with; None: none."""
        if is_given(self._vad):
            return self._vad
        if options.server_turns:
            return None
        if self._own_vad is None:
            self._own_vad = voice_detector()()
        return self._own_vad

    def stream(
        self,
        *,
        language: NotGivenOr[str | list[str]] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> SpeechStream:
        """Open a stream; connecting goes on in the background. Needs a running event loop.

        `language` holds for this stream alone. Raises ValueError for one the model does not take.
        """
        if not self._options.use_realtime:
            raise ValueError("use_realtime=False gives whole utterances only: use recognize(), or leave it out.")
        options = self._options.changed({"language": language})
        stream = SpeechStream(stt=self, options=options, detector=self.detector(options), conn_options=conn_options)
        self._streams.add(stream)
        return stream

    def update_options(
        self,
        *,
        model: NotGivenOr[str] = NOT_GIVEN,
        language: NotGivenOr[str | list[str]] = NOT_GIVEN,
        detect_language: NotGivenOr[bool] = NOT_GIVEN,
        prompt: NotGivenOr[str | None] = NOT_GIVEN,
        keywords: NotGivenOr[list[str]] = NOT_GIVEN,
        turn_detection: NotGivenOr[Any] = NOT_GIVEN,
        noise_reduction_type: NotGivenOr[str | None] = NOT_GIVEN,
        temperature: NotGivenOr[float | None] = NOT_GIVEN,
        delay: NotGivenOr[str | None] = NOT_GIVEN,
        include_logprobs: NotGivenOr[bool] = NOT_GIVEN,
    ) -> None:
        """Change options of this STT and of every stream it has open; see the constructor for their meaning.

        Streams change in place where GA allows it. Another model named in the URL, or languages taken back, need a new
        connection; audio without a text yet goes along. A stream with a language of its own keeps it, unless this call
        names one.

        Raises:
            ValueError: as the constructor does; nothing is changed then.
        """
        given = {
            "model": model,
            "language": language,
            "detect_language": detect_language,
            "prompt": prompt,
            "keywords": keywords,
            "turn_detection": turn_detection,
            "noise_reduction_type": noise_reduction_type,
            "temperature": temperature,
            "delay": delay,
            "include_logprobs": include_logprobs,
        }
        self._change({name: value for name, value in given.items() if is_given(value)})
        self._warn_of_temperature(given)

    def _change(self, change: Mapping[str, Any]) -> None:
        options = self._options.changed(change)
        for stream in self._streams:
            stream.options.changed(change)  # each has a say before any is changed
        self._check_detector(options)
        self._options = options
        self._changes.append(change)
        while len(self._changes) > MAX_CHANGES:
            self._first = self._first.with_all([self._changes.pop(0)])
        self._capabilities = self._abilities()
        for stream in list(self._streams):
            stream.use(change)

    def _warn_of_temperature(self, given: Mapping[str, Any]) -> None:
        if self._options.use_realtime and is_given(given["temperature"]):
            logger.warning("temperature does nothing here: transcription over a socket has none; remove it")

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        if not self.capabilities.keyterms:
            super()._update_session_keyterms(keyterms)
            return
        if tuple(keyterms) != self._options.session_keyterms:
            self._change({"session_keyterms": list(keyterms)})

    def take_back(self, changes: list[Mapping[str, Any]]) -> None:
        """The server refused these changes in a stream: new ones shall not begin with them."""
        refused = {id(change) for change in changes}
        self._changes = [change for change in self._changes if id(change) not in refused]
        self._options = self._first.with_all(self._changes)
        self._capabilities = self._abilities()

    def forget(self, stream: SpeechStream) -> None:
        """A stream is over."""
        self._streams.discard(stream)

    def complain(self, error: APIError) -> None:
        """Tell LiveKit what went wrong without ending a stream."""
        problem = stt.STTError(timestamp=time.time(), label=self.label, error=error, recoverable=True)
        self.emit("error", problem)

    def tell(self, event: str, what: object) -> bool:
        """Emit an event that is not LiveKit's; returns whether anybody listens. What a listener raises ends nothing."""
        try:
            self.emit(event, what)
        except TypeError:  # LiveKit logs what listeners raise, but for this
            logger.exception("a listener of %s raised an error", event)
        return is_heard(self, event)

    # -- connections ---------------------------------------------------------------------------------------------

    def prewarm(self) -> None:
        """Open and configure a connection for the next stream, in the background. Does nothing outside an event loop.

        LiveKit calls it when an agent starts; called when the job begins, it saves the stream the whole dialling.
        """
        if self._options.use_realtime:
            timeout = DEFAULT_API_CONNECT_OPTIONS.timeout
            self._prewarmed.open(self._options, timeout, tell=self._options.payload())

    async def dial(self, options: Options, timeout: float) -> tuple[Link, bool]:
        """A link for a stream within `timeout` seconds, and whether it was open already. Raises `LinkFailed`."""
        return await self._prewarmed.dial(options, timeout)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str | list[str]] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        options = self._options.changed({"language": language})  # for this call alone
        if not options.use_realtime:
            return await upload.transcribe(options, buffer, http=self._http.session(), timeout=conn_options.timeout)
        return await utterance.transcribe(options, buffer, dial=self.dial, timeout=conn_options.timeout)

    async def aclose(self) -> None:
        """Close every stream, and the connections that are this STT's own."""
        for stream in list(self._streams):
            await stream.aclose()
        await self._prewarmed.aclose()
        await self._http.aclose()
