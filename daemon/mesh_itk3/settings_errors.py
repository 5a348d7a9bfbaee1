"""What is wrong with a configuration, said so that an operator can mend it. PURE.

A line names file, table and key, never the value: a value may be a password, and these lines end up in journals.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

LONGEST_NAME: Final = 80
"""Characters of a name of the operator's that are repeated in a line; a guess: longer ones are mistakes."""


class ConfigInvalid(Exception):
    """The configuration is wrong and nothing was started. Each line of the text names file, table and key."""

    exit_code: ClassVar[int] = 78
    """EX_CONFIG: the systemd unit does not restart on it, because only a person can mend it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(sorted({one_line(problem) for problem in problems}))
        super().__init__("\n".join(self.problems))


class HandlerConflict(ConfigInvalid):
    """Two installed handlers claim the same messages, or one contradicts the workflow table or declares what cannot be
    used. Names the distributions.
    """


def one_line(text: str) -> str:
    """The text without anything that could break the line or steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def short_name(name: object) -> str:
    """A key or table name as the operator wrote it, cut where it cannot be one."""
    text = str(name)
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "…"


def no_such_key(name: str, known: Iterable[str], *, thing: str = "key") -> str:
    """Says that a name means nothing here, and which one may have been meant."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"no such {thing}; did you mean {close[0]}?" if close else f"no such {thing}"


# pydantic's own sentences quote the input in places, so none of them is used: type of error -> sentence of ours.
_SENTENCES: Final[dict[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "no such key",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_pattern_mismatch": "is not written as it must be",
    "string_too_long": "is too long",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number that is not so large",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be a path",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def sentence(error: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """What one of pydantic's errors (`errors(include_input=False)`) says, without a value in it. `known` are the keys
    of the table where an unknown one stood.

    `value_error` and `assertion_error` carry the text of the validator: ours never holds a value, and so must those
    of handlers' settings; a handler's text is shown because its author wrote it for the operator.
    """
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return no_such_key(str(error["loc"][-1]), known)
    if kind == "value_error":
        return str(context.get("error", "is not valid"))
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**context)
    return f"is not valid ({kind.replace('_', ' ')})"
