"""What is logged of the money that a session spends."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from livekit_plugins_openai_ga.core.usage import ReplyUsage
from livekit_plugins_openai_ga.counters import Counters
from livekit_plugins_openai_ga.log import logger
from livekit_plugins_openai_ga.prices import Price
from livekit_plugins_openai_ga.spending import Spending


@pytest.mark.parametrize(("limit", "shown"), [(1e-05, "$0.00001"), (0.25, "$0.25"), (2.0, "$2"), (1e6, "$1000000")])
def test_the_limit_is_written_as_money_is(limit: float, shown: str, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    spending = Spending({"m": Price(per_minute=limit)}, limit, lambda *_: None)
    spending.add("m", ReplyUsage(seconds=60.0), Counters("realtime", "m"), logger)
    assert [record.getMessage() for record in caplog.records] == [
        f"the session has cost ${limit:.4f} of the {shown} that max_cost allows: it ends"
    ]
