"""Every difference between the official plugin and this one in the scenes, line by line, each with its reason.

`docs/swap.md` says the same in words, for users. Speech to text has more of it in `tests/stt/test_official_parity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Differs:
    """Lines that only one of them tells, and why that is right. `There`: the official plugin; `here`: this one."""

    reason: str
    official: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()


HEARD = "There the history goes on holding what nobody heard or saw; here it is cut, and says so (livekit/agents#2201)."
OUTPUT = "There the history shows what the server echoes, which has no name; here it is the caller's own item."
CODES = "There the exception says neither code nor status."
CLOSING = "There closing a session raises what had ended it, a second time."
CLOSE_CODE = "There a lost connection has no code; here it is that of the close."
REPLAY = "There replayed items are announced again; here only new ones are."
LANGUAGES = "There the languages that the server detected are dropped."
UPLOADED = "There an upload has no id, and the languages that the server detected are dropped."

DIFFERENCES: dict[str, tuple[Differs, ...]] = {
    "a spoken turn on azure": (
        Differs(
            "There metrics name the default model, whatever is deployed; here the deployment.",
            official=(
                "metrics_collected label=its own request_id=#1 metadata.model_name='gpt-realtime' "
                "metadata.model_provider=the server",
                "metrics_collected label=its own request_id=#3 ttft=+ input_tokens=40 output_tokens=22 "
                "total_tokens=62 input_token_details.audio_tokens=16 input_token_details.text_tokens=24 "
                "output_token_details.text_tokens=4 output_token_details.audio_tokens=18 "
                "metadata.model_name='gpt-realtime' metadata.model_provider=the server",
            ),
            ours=(
                "metrics_collected label=its own request_id=#1 metadata.model_name='voice' "
                "metadata.model_provider=the server",
                "metrics_collected label=its own request_id=#3 ttft=+ input_tokens=40 output_tokens=22 "
                "total_tokens=62 input_token_details.audio_tokens=16 input_token_details.text_tokens=24 "
                "output_token_details.text_tokens=4 output_token_details.audio_tokens=18 "
                "metadata.model_name='voice' metadata.model_provider=the server",
            ),
        ),
    ),
    "a reply asked for while another is made": (
        Differs(
            "There the second request fails; here it waits for its turn (livekit/agents#6817).",
            official=(
                (
                    "error label=its own error=APIError(conversation_already_has_active_response, "
                    "retryable=True) recoverable=True"
                ),
                "the reply's future fails with error='RealtimeError(conversation_already_has_active_response)'",
            ),
            ours=(
                "generation_created user_initiated=True response_id=#4",
                "the reply's future gives user_initiated=True response_id=#4",
                "remote_item_added previous_item_id=#3 item.id=#5 item.role='assistant' item.content=[]",
                (
                    "metrics_collected label=its own request_id=#4 ttft=+ input_tokens=132 output_tokens=22 "
                    "total_tokens=154 input_token_details.audio_tokens=108 input_token_details.text_tokens=24 "
                    "input_token_details.cached_tokens=24 "
                    "input_token_details.cached_tokens_details.text_tokens=24 "
                    "output_token_details.text_tokens=4 output_token_details.audio_tokens=18 "
                    "metadata.model_name='gpt-realtime-2.1' metadata.model_provider=the server"
                ),
                "reply 2: message message_id=#5 text='It is noon.' audio='890 ms' modalities=['audio', 'text']",
                "history: message id=#5 role='assistant' content=['It is noon.']",
                "server: message id=#5 status='completed' role='assistant' content=['It is noon.']",
            ),
        ),
    ),
    "a reply cut to what was heard": (
        Differs(
            HEARD,
            official=(
                (
                    "history: message id=#3 role='assistant' content=['one two three four five six seven eight "
                    "nine ten eleven twelve thirteen fourteen fifteen']"
                ),
            ),
            ours=("history: message id=#3 role='assistant' content=['one two three'] interrupted=True",),
        ),
    ),
    "a written reply cut to what was shown": (
        Differs(
            "There the cut message is announced as a new item; here the framework knows it already.",
            official=(
                (
                    "remote_item_added previous_item_id=None item.id=#3 item.role='assistant' "
                    "item.content=['one two three']"
                ),
            ),
        ),
        Differs(
            HEARD,
            official=("history: message id=#3 role='assistant' content=['one two three']",),
            ours=("history: message id=#3 role='assistant' content=['one two three'] interrupted=True",),
        ),
    ),
    "a reply given up before it is asked for": (
        Differs(
            "There a reply nobody waits for is asked for and cancelled; here the request never leaves.",
            official=("the server is asked for replies times=1",),
            ours=("the server is asked for replies times=0",),
        ),
    ),
    "a tool call": (
        Differs(
            OUTPUT,
            official=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.call_id=#6 item.output='sunny' "
                    "item.is_error=False"
                ),
                "history: function_call_output id=#7 call_id=#6 output='sunny' is_error=False",
            ),
            ours=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.name='weather' item.call_id=#6 "
                    "item.output='sunny' item.is_error=False"
                ),
                "history: function_call_output id=#7 name='weather' call_id=#6 output='sunny' is_error=False",
            ),
        ),
    ),
    "two tool calls at once": (
        Differs(
            OUTPUT,
            official=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.call_id=#4 item.output='sunny' "
                    "item.is_error=False"
                ),
                (
                    "remote_item_added previous_item_id=#7 item.id=#8 item.call_id=#6 item.output='sunny' "
                    "item.is_error=False"
                ),
                "history: function_call_output id=#7 call_id=#4 output='sunny' is_error=False",
                "history: function_call_output id=#8 call_id=#6 output='sunny' is_error=False",
            ),
            ours=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.name='weather' item.call_id=#4 "
                    "item.output='sunny' item.is_error=False"
                ),
                (
                    "remote_item_added previous_item_id=#7 item.id=#8 item.name='clock' item.call_id=#6 "
                    "item.output='sunny' item.is_error=False"
                ),
                "history: function_call_output id=#7 name='weather' call_id=#4 output='sunny' is_error=False",
                "history: function_call_output id=#8 name='clock' call_id=#6 output='sunny' is_error=False",
            ),
        ),
    ),
    "instructions that are refused": (
        Differs(
            "There an error event is all; here who asked is told, too, and the old ones stay (livekit/agents#1183).",
            ours=("update_instructions raises error='RealtimeError(invalid_value)'",),
        ),
    ),
    "an item that is refused": (
        Differs(
            "There the item behind a refused one is lost with it, and nobody is told; here it takes its place.",
            ours=(
                "error label=its own error=APIError(invalid_value, retryable=True) recoverable=True",
                "remote_item_added previous_item_id=None item.id=#2 item.role='user' item.content=['Two.']",
                "history: message id=#2 role='user' content=['Two.']",
                "server: message id=#2 status='completed' role='user' content=['Two.']",
            ),
        ),
    ),
    "a history of all kinds of items": (
        Differs(
            "There the history shows what the server echoes; here a developer stays a developer.",
            official=(
                ("remote_item_added previous_item_id=#2 item.id=#3 item.role='system' item.content=['Be brief.']"),
            ),
            ours=(
                ("remote_item_added previous_item_id=#2 item.id=#3 item.role='developer' item.content=['Be brief.']"),
            ),
        ),
        Differs(
            OUTPUT,
            official=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.call_id=#6 item.output='sunny' "
                    "item.is_error=False"
                ),
            ),
            ours=(
                (
                    "remote_item_added previous_item_id=#5 item.id=#7 item.name='weather' item.call_id=#6 "
                    "item.output='sunny' item.is_error=False"
                ),
            ),
        ),
        Differs(
            "There the history shows what the server echoes; here a developer stays a developer.",
            official=("history: message id=#3 role='system' content=['Be brief.']",),
            ours=("history: message id=#3 role='developer' content=['Be brief.']",),
        ),
        Differs(
            OUTPUT,
            official=("history: function_call_output id=#7 call_id=#6 output='sunny' is_error=False",),
            ours=(("history: function_call_output id=#7 name='weather' call_id=#6 output='sunny' is_error=False"),),
        ),
        Differs(
            ("Both send a digest of a call id that is too long; here the history keeps the caller's own id."),
            official=(
                (
                    "server: function_call id=#5 status='completed' arguments='{\"city\": \"Rome\"}' "
                    "name='weather' call_id=#6 content=[]"
                ),
                ("server: function_call_output id=#7 status='completed' call_id=#6 output='sunny' content=[]"),
            ),
            ours=(
                (
                    "server: function_call id=#5 status='completed' call_id=#9 name='weather' "
                    'arguments=\'{"city": "Rome"}\' content=[]'
                ),
                ("server: function_call_output id=#7 status='completed' call_id=#9 output='sunny' content=[]"),
            ),
        ),
    ),
    "a turn with an empty transcript": (
        Differs(
            "There an empty text is content; here it is none. The event is the same.",
            official=("history: message id=#2 role='user' content=['']",),
            ours=("history: message id=#2 role='user' content=[]",),
        ),
    ),
    "no quota left": (
        Differs(
            CODES,
            official=("the reply's future fails with error='RealtimeError(None)'",),
            ours=("the reply's future fails with error='RealtimeError(insufficient_quota)'",),
        ),
        Differs(
            CLOSING,
            official=("closing the session raises error='APIError(insufficient_quota, retryable=False)'",),
        ),
    ),
    "no quota left for a reply": (
        Differs(
            CLOSING,
            official=("closing the session raises error='APIError(insufficient_quota, retryable=False)'",),
        ),
    ),
    "a wrong key": (
        Differs(
            ("There a socket is a connection; here it is one when the server has said `session.created`."),
            official=(
                (
                    "metrics_collected label=its own request_id=#1 metadata.model_name='gpt-realtime-2.1' "
                    "metadata.model_provider=the server"
                ),
            ),
        ),
        Differs(
            CODES,
            official=("the reply's future fails with error='RealtimeError(None)'",),
            ours=("the reply's future fails with error='RealtimeError(invalid_api_key)'",),
        ),
        Differs(
            CLOSING,
            official=("closing the session raises error='APIError(invalid_api_key, retryable=False)'",),
        ),
    ),
    "a key refused by the http status": (
        Differs(
            "There a wrong key is tried again, and the status is hidden in a text; here one attempt is enough to know.",
            official=(
                "error label=its own error=APIConnectionError(None, retryable=True) recoverable=True",
                "error label=its own error=APIConnectionError(None, retryable=True) recoverable=True",
                "error label=its own error=APIConnectionError(None, retryable=True) recoverable=False",
            ),
            ours=(("error label=its own error=APIStatusError(invalid_api_key, retryable=False) recoverable=False"),),
        ),
        Differs(
            CODES,
            official=("the reply's future fails with error='RealtimeError(None)'",),
            ours=("the reply's future fails with error='RealtimeError(invalid_api_key)'",),
        ),
        Differs(
            "There a wrong key is tried again, and the status is hidden in a text; here one attempt is enough to know.",
            official=("connections count=3",),
            ours=("connections count=1",),
        ),
        Differs(
            CLOSING,
            official=("closing the session raises error='APIConnectionError(None, retryable=True)'",),
        ),
    ),
    "a connection that drops": (
        Differs(
            CLOSE_CODE,
            official=("error label=its own error=APIConnectionError(None, retryable=True) recoverable=True",),
            ours=("error label=its own error=APIConnectionError(close_1006, retryable=True) recoverable=True",),
        ),
        Differs(
            REPLAY,
            official=(
                (
                    "remote_item_added previous_item_id=None item.id=#2 item.role='user' item.content=['What "
                    "time is it?']"
                ),
                (
                    "remote_item_added previous_item_id=#2 item.id=#4 item.role='assistant' "
                    "item.content=['Hello there.']"
                ),
            ),
        ),
    ),
    "a voice changed after it was heard": (
        Differs(
            "There all of the update is refused; here the voice waits for the next connection, which a warning says.",
            official=("error label=its own error=APIError(cannot_update_voice, retryable=True) recoverable=True",),
        ),
    ),
    "a connection that drops in a reply": (
        Differs(
            CLOSE_CODE,
            official=("error label=its own error=APIConnectionError(None, retryable=True) recoverable=True",),
            ours=(("error label=its own error=APIConnectionError(close_1006, retryable=True) recoverable=True"),),
        ),
        Differs(
            "There a reply is lost with its connection; here one of which nothing was heard is asked for again.",
            ours=(
                "remote_item_added previous_item_id=None item.id=#3 item.role='assistant' item.content=[]",
                (
                    "metrics_collected label=its own request_id=#2 ttft=+ input_tokens=24 output_tokens=22 "
                    "total_tokens=46 input_token_details.text_tokens=24 output_token_details.text_tokens=4 "
                    "output_token_details.audio_tokens=18 metadata.model_name='gpt-realtime-2.1' "
                    "metadata.model_provider=the server"
                ),
                "reply 1: message message_id=#3 text='It is noon.' audio='890 ms' modalities=['audio', 'text']",
                "history: message id=#3 role='assistant' content=['It is noon.']",
                "server: message id=#3 status='completed' role='assistant' content=['It is noon.']",
            ),
        ),
    ),
    "a reply asked for while there is no connection": (
        Differs(
            CLOSE_CODE,
            official=("error label=its own error=APIConnectionError(None, retryable=True) recoverable=True",),
            ours=("error label=its own error=APIConnectionError(close_1006, retryable=True) recoverable=True",),
        ),
        Differs(
            "There the caller is told that the reply failed, and it is spoken all the same (livekit/agents#6436).",
            official=(
                "the reply's future fails with error='RealtimeError(None)'",
                "generation_created user_initiated=False response_id=#2",
            ),
            ours=(
                "generation_created user_initiated=True response_id=#2",
                "the reply's future gives user_initiated=True response_id=#2",
            ),
        ),
    ),
    "a session that is closed": (
        Differs(
            CODES,
            official=("the reply's future fails with error='RealtimeError(None)'",),
            ours=("the reply's future fails with error='RealtimeError(session_closed)'",),
        ),
    ),
    "agent: a connection that drops": (
        Differs(
            CLOSE_CODE,
            official=(
                (
                    "error error.label=its own error.error=APIConnectionError(None, retryable=True) "
                    "error.recoverable=True"
                ),
            ),
            ours=(
                (
                    "error error.label=its own error.error=APIConnectionError(close_1006, retryable=True) "
                    "error.recoverable=True"
                ),
            ),
        ),
    ),
    "agent: no quota left": (
        Differs(
            "There closing raises, so LiveKit never says that the session is closed.",
            ours=(
                (
                    "close error.label=its own error.error=APIError(insufficient_quota, retryable=False) "
                    "error.recoverable=False reason=error"
                ),
            ),
        ),
    ),
    "stt: a sentence in full": (
        Differs(
            "There only finals say which segment they are of; here everything does.",
            official=(
                "start_of_speech request_id=None",
                "end_of_speech request_id=None",
            ),
            ours=(
                "start_of_speech request_id=#2",
                "end_of_speech request_id=#2",
            ),
        ),
        Differs(
            "There a text has no place in the audio.",
            official=(
                (
                    "final_transcript language='en' text='Hello there my friend.' request_id=#2 "
                    "has_a_place_in_the_audio=False"
                ),
            ),
            ours=(
                (
                    "final_transcript language='en' text='Hello there my friend.' request_id=#2 "
                    "has_a_place_in_the_audio=True"
                ),
            ),
        ),
        Differs(
            "There the seconds are guessed from turn detection, and the request is the stream (livekit/agents#1817).",
            official=(
                (
                    "metrics_collected label=its own request_id=#1 audio_duration=2.000 streamed=True "
                    "input_tokens=20 output_tokens=6 total_tokens=26 metadata.model_name='gpt-4o-transcribe' "
                    "metadata.model_provider=the server"
                ),
                (
                    "recognition_usage request_id=None usage.audio_duration=2.000 usage.input_tokens=20 "
                    "usage.output_tokens=6"
                ),
            ),
            ours=(
                (
                    "metrics_collected label=its own request_id=#2 audio_duration=1.650 streamed=True "
                    "input_tokens=20 output_tokens=6 total_tokens=26 metadata.model_name='gpt-4o-transcribe' "
                    "metadata.model_provider=the server"
                ),
                (
                    "recognition_usage request_id=#2 usage.audio_duration=1.650 usage.input_tokens=20 "
                    "usage.output_tokens=6"
                ),
            ),
        ),
        Differs(
            "There a text has no place in the audio.",
            official=("capabilities streaming=True interim_results=True",),
            ours=("capabilities streaming=True interim_results=True aligned_transcript='chunk'",),
        ),
    ),
    "stt: a sentence with hints": (
        Differs(
            LANGUAGES,
            official=("final_transcript language='en' text='Hello there my friend.' request_id=#2",),
            ours=(
                "final_transcript language='en' text='Hello there my friend.' source_languages=['en'] request_id=#2",
            ),
        ),
    ),
    "stt: a sentence that a streaming model hears": (
        Differs(
            "An empty list of keywords says nothing; it is sent there.",
            official=(
                (
                    'server: transcription = {"keywords": [], "language": null, "languages": ["en"], "model": '
                    '"gpt-live-transcribe", "prompt": null}'
                ),
            ),
            ours=(
                (
                    'server: transcription = {"language": null, "languages": ["en"], "model": '
                    '"gpt-live-transcribe", "prompt": null}'
                ),
            ),
        ),
    ),
    "stt: a sentence that is not transcribed": (
        Differs(
            "There nothing is told of it; here it is an error that ends nothing.",
            ours=("error label=its own error=APIError(audio_unintelligible, retryable=True) recoverable=True",),
        ),
    ),
    "stt: transcripts that overtake each other": (
        Differs(
            "There texts come as they arrive; here as they were spoken.",
            official=(
                "final_transcript language='en' text='What is the weather in Rome?' request_id=#2",
                "final_transcript language='en' text='Hello there my friend.' request_id=#3",
                (
                    "metrics_collected label=its own streamed=True input_tokens=20 output_tokens=6 "
                    "total_tokens=26 metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the "
                    "server"
                ),
                "recognition_usage usage.input_tokens=20 usage.output_tokens=6",
            ),
            ours=(
                "final_transcript language='en' text='Hello there my friend.' request_id=#2",
                (
                    "metrics_collected label=its own streamed=True input_tokens=20 output_tokens=6 "
                    "total_tokens=26 metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the "
                    "server"
                ),
                "recognition_usage usage.input_tokens=20 usage.output_tokens=6",
                "final_transcript language='en' text='What is the weather in Rome?' request_id=#3",
            ),
        ),
    ),
    "stt: a session that expires": (
        Differs(
            "There one error event ends the stream; here a new connection takes its audio (livekit/agents#2774).",
            official=(
                "error label=its own error=APIError(session_expired, retryable=False) recoverable=False",
                "the stream raises error='APIError(session_expired, retryable=False)'",
                "growing texts are told: False",
            ),
            ours=(
                "error label=its own error=APIConnectionError(session_expired, retryable=True) recoverable=True",
                (
                    "metrics_collected label=its own streamed=True metadata.model_name='gpt-4o-transcribe' "
                    "metadata.model_provider=the server"
                ),
                "start_of_speech",
                "end_of_speech",
                "final_transcript language='en' text='Hello there my friend.' request_id=#2",
                (
                    "metrics_collected label=its own streamed=True input_tokens=20 output_tokens=6 "
                    "total_tokens=26 metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the "
                    "server"
                ),
                "recognition_usage usage.input_tokens=20 usage.output_tokens=6",
                "growing texts are told: True",
            ),
        ),
    ),
    "stt: a connection that drops": (
        Differs(
            CLOSE_CODE,
            official=("error label=its own error=APIStatusError(None, retryable=True) recoverable=True",),
            ours=("error label=its own error=APIConnectionError(close_1006, retryable=True) recoverable=True",),
        ),
        Differs(
            "There the pause before a sentence is lost with the connection; here it is sent again.",
            official=(
                (
                    "metrics_collected label=its own streamed=True input_tokens=25 output_tokens=7 "
                    "total_tokens=32 metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the "
                    "server"
                ),
                "recognition_usage usage.input_tokens=25 usage.output_tokens=7",
            ),
            ours=(
                (
                    "metrics_collected label=its own streamed=True input_tokens=29 output_tokens=7 "
                    "total_tokens=36 metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the "
                    "server"
                ),
                "recognition_usage usage.input_tokens=29 usage.output_tokens=7",
            ),
        ),
    ),
    "stt: the end of the input": (
        Differs(
            "There the stream never ends; here the rest is committed, silence too, and told.",
            ours=(
                "final_transcript language='en' text='' request_id=#3",
                (
                    "metrics_collected label=its own streamed=True input_tokens=7 total_tokens=7 "
                    "metadata.model_name='gpt-4o-transcribe' metadata.model_provider=the server"
                ),
                "recognition_usage usage.input_tokens=7",
                "the stream ends",
            ),
        ),
    ),
    "stt: a wrong key": (
        Differs(
            CODES,
            official=(
                "error label=its own error=WSServerHandshakeError(401) recoverable=False",
                "the stream raises error='WSServerHandshakeError(401)'",
            ),
            ours=(
                "error label=its own error=APIStatusError(invalid_api_key, retryable=False) recoverable=False",
                "the stream raises error='APIStatusError(invalid_api_key, retryable=False)'",
            ),
        ),
    ),
    "stt: a recording": (
        Differs(
            UPLOADED,
            official=("final_transcript language='pt' text='Hello there my friend.' request_id=None",),
            ours=(
                "final_transcript language='pt' text='Hello there my friend.' source_languages=['pt'] request_id=#1",
            ),
        ),
    ),
    "stt: a recording in an unknown language": (
        Differs(
            UPLOADED,
            official=("final_transcript language='pt' text='Hello there my friend.' request_id=None",),
            ours=(
                "final_transcript language='pt' text='Hello there my friend.' source_languages=['pt'] request_id=#1",
            ),
        ),
    ),
}
