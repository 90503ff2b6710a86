"""Convert the words of a command line as Typer does, but without pydantic.

Newer Typers ask pydantic for every parameter of a command, given or not, and importing it takes longer than most
commands.  Older ones have no such method as :func:`convert_plainly` replaces; there it has no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

_PLAIN: dict[type, str] = {str: "text", int: "integer", float: "number", Path: "path"}
"""Types that convert words themselves, and what an error calls them."""


def convert_plainly(command: Any) -> None:
    """Convert here the parameters of a command that are not given, and those of a plain type without bounds."""
    parameters = command.get_params

    def get_params(context: Any) -> Any:  # the option --help comes with them
        found = parameters(context)
        for parameter in found:
            if hasattr(parameter, "get_runtime_param") and "get_runtime_param" not in vars(parameter):
                plain = _Plain(parameter.type_descriptor, parameter.get_runtime_param)
                parameter.get_runtime_param = lambda plain=plain: plain
        return found

    command.get_params = get_params


class _Plain:
    """Conversion of one parameter: a runtime parameter in Typer's words."""

    def __init__(self, described: Any, typers: Callable[[], Any]) -> None:
        info, kind = described.parameter_info, described.annotation
        self._kind = get_args(kind)[0] if get_origin(kind) is list else kind
        bounded = info.parser is not None or info.min is not None or info.max is not None
        self._typers = typers if bounded or self._kind not in _PLAIN else None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value in its own type, or a list of such values; None, or an empty tuple, where none was given."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        if self._typers is not None:
            return self._typers().coerce(value, param=param, ctx=ctx)
        return [self._convert(one, param, ctx) for one in value] if many else self._convert(value, param, ctx)

    def _convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return value if isinstance(value, self._kind) else self._kind(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a valid {_PLAIN[self._kind]}.", ctx=ctx, param=param) from None
