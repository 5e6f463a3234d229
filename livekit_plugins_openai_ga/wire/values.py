"""How the many small values of a call are made: events that come in, effects that go out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing import dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def value(cls: type[T]) -> type[T]:
        """A dataclass that nobody changes: the type checker holds that, not the interpreter.

        A frozen one takes a call per field to make, so three times as long.
        """

else:
    value = dataclass(slots=True, unsafe_hash=True)


@value
class ServerEvent:
    """Base of every decoded event. `type` is the GA name."""

    type: ClassVar[str] = ""
