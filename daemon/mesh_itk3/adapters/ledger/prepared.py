"""Statements of the path that run for every message: put into words once per engine, not once per use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect

Parameters = Mapping[str, Any]


class Prepared:
    """One statement. SQLAlchemy's own way of executing it costs several times what the engine then needs for a row.

    Rows come back as the driver makes them: times, flags and enumerations are not turned into ours.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """`columns`: of an INSERT without values."""
        self._statement = statement
        self._columns = columns
        self._words: dict[str, _Words] = {}

    def execute(self, connection: Connection, parameters: Parameters | Sequence[Parameters]) -> CursorResult[Any]:
        """Once, or once for each of several. The row count is that of all together."""
        words = self._words.get(connection.dialect.name)
        if words is None:
            words = self._words[connection.dialect.name] = self._put_into_words(connection.dialect)
        if isinstance(parameters, Mapping):
            return connection.exec_driver_sql(words.sql, words.values(parameters))
        return connection.exec_driver_sql(words.sql, [words.values(each) for each in parameters])

    def _put_into_words(self, dialect: Dialect) -> _Words:
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        types = {name: compiled.binds[name].type.dialect_impl(dialect) for name in names}
        processors = {name: processor for name, type_ in types.items() if (processor := type_.bind_processor(dialect))}
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        return _Words(compiled.string, tuple(names), fixed, processors, is_positional=compiled.positional)


@dataclass(frozen=True, slots=True)
class _Words:
    sql: str
    names: tuple[str, ...]
    """In the order of the question marks, or each once where the driver takes them by name."""
    fixed: Parameters
    """What the statement itself gives, such as a limit."""
    processors: Mapping[str, Callable[[Any], Any]]
    is_positional: bool

    def values(self, parameters: Parameters) -> Any:
        given = {**self.fixed, **parameters}
        for name, process in self.processors.items():
            given[name] = process(given[name])
        return tuple([given[name] for name in self.names]) if self.is_positional else given
