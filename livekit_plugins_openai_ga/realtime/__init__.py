"""OpenAI's GA Realtime API as LiveKit's `RealtimeModel` and `RealtimeSession`."""

from typing import TYPE_CHECKING

from .. import elsewhere
from ..core.bill import SessionUsage
from ..images import Images
from ..info import SessionInfo
from ..prices import Price
from . import realtime_model as realtime_model
from . import utils as utils
from .events import (
    CostLimitReached,
    CostWarning,
    InputAudioTimeoutTriggered,
    MCPApprovalRequested,
    MCPToolsListed,
    ModelChanged,
    RateLimit,
    RateLimitsUpdated,
    ResponseIncomplete,
    SaidOtherwise,
    SessionCreated,
)
from .mcp import MCPTool
from .model import RealtimeModel
from .reply import Reply, ReplyEnd
from .session import RealtimeSession

__all__ = [
    "CostLimitReached",
    "CostWarning",
    "Images",
    "InputAudioTimeoutTriggered",
    "MCPApprovalRequested",
    "MCPTool",
    "MCPToolsListed",
    "ModelChanged",
    "Price",
    "RateLimit",
    "RateLimitsUpdated",
    "RealtimeModel",
    "RealtimeSession",
    "Reply",
    "ReplyEnd",
    "ResponseIncomplete",
    "SaidOtherwise",
    "SessionCreated",
    "SessionInfo",
    "SessionUsage",
]

if not TYPE_CHECKING:
    __getattr__ = elsewhere.attribute(__name__)
