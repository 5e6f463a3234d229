"""How the many small values of a call are made: events that come in, effects that go out, what parts hand on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing import dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def value(cls: type[T]) -> type[T]:
        """A dataclass that nobody changes: the type checker holds that, not the interpreter.

        A frozen one takes a call per field to make, so three times as long. One with an `__eq__` of its own needs its
        own `__hash__`, too; `hash` of a field is not looked at.
        """

else:
    _plain = dataclass(slots=True, eq=False, repr=False)

    def value(cls):
        """As above."""
        made = _plain(cls)
        for name, method in _SHARED.items():
            if name not in vars(made):
                setattr(made, name, method)
        return made


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, each.name) for each in fields(value) if each.compare])


def _equal(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


_SHARED = {"__eq__": _equal, "__hash__": _hash, "__repr__": _show}
"""What every value has that does not say otherwise. A dataclass compiles its own, so it takes twice as long to define,
a frozen one four times."""


@value
class ServerEvent:
    """Base of every decoded event. `type` is the GA name."""

    type: ClassVar[str] = ""
