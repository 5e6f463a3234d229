"""The HTTP side of the GA Realtime API: client secrets for browsers, WebRTC and SIP calls, webhooks."""

from .calls import Call, Calls
from .client_secrets import ClientSecret, create_client_secret
from .webhooks import IncomingCall, WebhookEvent, WebhookRefused, WebhookReplayed, Webhooks

__all__ = [
    "Call",
    "Calls",
    "ClientSecret",
    "IncomingCall",
    "WebhookEvent",
    "WebhookRefused",
    "WebhookReplayed",
    "Webhooks",
    "create_client_secret",
]
