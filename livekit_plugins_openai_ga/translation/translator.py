"""Live interpretation: holds the options, makes streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from livekit.agents import APIConnectOptions
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr

from .. import models
from ..connection import DEFAULT_HEARTBEAT, Connection, KeyProvider
from ..prices import Price
from ..recording.recorder import RecorderOption
from ..transport.link import Link
from ..transport.prewarmed import Prewarmed
from .options import DEFAULT_DRAIN_TIMEOUT, DEFAULT_REPLAY_AUDIO, Options
from .stream import TranslationStream


class Translator:
    """Translates speech while it is spoken: speech and text of one language out, of any (of 70 and more) in.

    One stream is one speaker in one language. Works inside a LiveKit job and in any asyncio program.
    """

    def __init__(
        self,
        *,
        target_language: str,
        transcribe_source: bool | str | None = None,
        model: str = models.DEFAULT_TRANSLATION,
        noise_reduction: Literal["near_field", "far_field"] | None = None,
        base_url: NotGivenOr[str] = NOT_GIVEN,
        api_key: str | KeyProvider | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        max_session_duration: NotGivenOr[float | None] = NOT_GIVEN,
        heartbeat: float = DEFAULT_HEARTBEAT,
        drain_timeout: float = DEFAULT_DRAIN_TIMEOUT,
        max_replay_audio: float = DEFAULT_REPLAY_AUDIO,
        skip_silence: bool = True,
        prices: Mapping[str, Price] | None = None,
        max_cost: float | None = None,
        recorder: RecorderOption = None,
    ) -> None:
        """Check the options and remember them; no socket is opened before `stream` or `prewarm`.

        Args:
            target_language: an ISO 639-1 code such as `de`. OpenAI documents de, en, es, fr, hi, id, it, ja, ko, pt,
                ru, vi and zh; others are passed on with a warning. The source's language is found out by the model.
            transcribe_source: True, or a model's name, for texts of the source, too; True means `gpt-realtime-whisper`.
            model: default `gpt-realtime-translate`.
            noise_reduction: `near_field`, `far_field` or None (default).
            base_url: default `$OPENAI_BASE_URL`, else `https://api.openai.com/v1`. http(s) or ws(s).
            api_key: default `$OPENAI_API_KEY`; or a function, plain or async, that gives one for every connection.
            extra_headers: sent with the WebSocket handshake.
            extra_query: added to the URL.
            allow_insecure: allow a plain-text base URL of another host; the key then travels in clear.
            conn_options: retries in a row, seconds between them, seconds one may take.
            max_session_duration: seconds until a connection is replaced at a quiet moment; default 3000, None never.
                The server ends every session after 3600 s.
            heartbeat: seconds between pings. A peer without a sign of life for twice that is taken for dead.
            drain_timeout: seconds without a sign of progress after which the rest is given up when a stream ends;
                default 30. The rest may take minutes as long as it keeps coming.
            max_replay_audio: seconds of source audio that are kept for a reconnect, at most; default 30. What is said
                in a longer outage is lost, the oldest first.
            skip_silence: leave out silence by which the translated speech would come later and later; default True.
                See docs/translation.md.
            prices: USD by model id, `{"my-alias": Price(per_minute=...)}`, before OpenAI's prices in `models`.
            max_cost: USD that a stream may cost. Its events `cost_warning` and `cost_limit_reached` tell; 10 s later it
                ends. A model without a price is refused.
            recorder: a `Recorder`, which writes what every stream says and hears to a file. None (default): one if
                `$OPENAI_GA_RECORD` names a folder; False: never. See docs/timeline.md.

        Raises:
            ValueError: a missing key, or something that cannot be; names the parameter and what to do.
        """
        connection = Connection.create(
            base_url=base_url,
            api_key=api_key,
            extra_headers=extra_headers,
            extra_query=extra_query,
            allow_insecure=allow_insecure,
            conn_options=conn_options,
            heartbeat=heartbeat,
            max_session_duration=max_session_duration,
        )
        self._options = Options.create(
            connection,
            model=model,
            target_language=target_language,
            transcribe_source=transcribe_source,
            noise_reduction=noise_reduction,
            skip_silence=skip_silence,
            drain_timeout=drain_timeout,
            max_replay_audio=max_replay_audio,
            prices=prices,
            max_cost=max_cost,
            recorder=recorder,
        )
        self._streams: set[TranslationStream] = set()
        self._prewarmed = Prewarmed()

    @property
    def options(self) -> Options:
        """What new streams start with."""
        return self._options

    @property
    def model(self) -> str:
        """The model id."""
        return self._options.model

    @property
    def label(self) -> str:
        """Names this class in metrics and errors."""
        return f"{type(self).__module__}.{type(self).__name__}"

    @property
    def provider(self) -> str:
        """Host (and port, when given) of the server."""
        return urlsplit(self._options.endpoint().url).netloc

    def stream(self) -> TranslationStream:
        """Open a stream; connecting goes on in the background. Needs a running event loop."""
        stream = TranslationStream(self, self._options)
        self._streams.add(stream)
        return stream

    async def prewarm(self) -> None:
        """Open and configure a connection for the next stream, in the background. Two minutes later it is closed."""
        timeout = self._options.connection.conn_options.timeout
        self._prewarmed.open(self._options, timeout, tell=self._options.payload())

    async def dial(self, options: Options) -> Link:
        """A link for a stream: the one that was prewarmed, if it fits. Raises `LinkFailed`."""
        return (await self._prewarmed.dial(options, options.connection.conn_options.timeout))[0]

    def forget(self, stream: TranslationStream) -> None:
        """A stream is over."""
        self._streams.discard(stream)

    async def aclose(self) -> None:
        """Close every stream at once, and the connection that none took."""
        for stream in list(self._streams):
            await stream.aclose()
        await self._prewarmed.aclose()
