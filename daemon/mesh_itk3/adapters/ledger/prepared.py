"""Statements of the path that run for every message: put into words once per engine, not once per use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect, Select

Parameters = Mapping[str, Any]
Values = dict[str, Any]


class Prepared:
    """One statement. SQLAlchemy's own way of executing it costs several times what the engine then needs for a row."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """`columns`: of an INSERT without values."""
        self._statement = statement
        self._columns = columns
        self._words: dict[str, _Words] = {}

    def execute(self, connection: Connection, parameters: Parameters | Sequence[Parameters]) -> CursorResult[Any]:
        """Once, or once for each of several. The row count is that of all together. Rows come back as the driver makes them:
        times, flags and enumerations are not turned into ours.
        """
        words = self._words_for(connection.dialect)
        if isinstance(parameters, Mapping):
            return connection.exec_driver_sql(words.sql, words.values(parameters))
        return connection.exec_driver_sql(words.sql, [words.values(each) for each in parameters])

    def rows(self, connection: Connection, parameters: Parameters) -> list[Values]:
        """What a SELECT finds, each row by the names of its columns, in the forms that SQLAlchemy gives them."""
        words = self._words_for(connection.dialect)
        found = connection.exec_driver_sql(words.sql, words.values(parameters))
        return [words.row(row) for row in found]

    def _words_for(self, dialect: Dialect) -> _Words:
        words = self._words.get(dialect.name)
        if words is None:
            words = self._words[dialect.name] = self._put_into_words(dialect)
        return words

    def _put_into_words(self, dialect: Dialect) -> _Words:
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        types = {name: compiled.binds[name].type.dialect_impl(dialect) for name in names}
        processors = {name: processor for name, type_ in types.items() if (processor := type_.bind_processor(dialect))}
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        return _Words(
            compiled.string, tuple(names), fixed, processors, self._columns_of_rows(dialect), is_positional=compiled.positional
        )

    def _columns_of_rows(self, dialect: Dialect) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
        if not isinstance(self._statement, Select):
            return ()
        columns = self._statement.selected_columns.items()
        return tuple((name, column.type.dialect_impl(dialect).result_processor(dialect, None)) for name, column in columns)


@dataclass(frozen=True, slots=True)
class _Words:
    sql: str
    names: tuple[str, ...]
    """In the order of the question marks, or each once where the driver takes them by name."""
    fixed: Parameters
    """What the statement itself gives, such as a limit."""
    processors: Mapping[str, Callable[[Any], Any]]
    columns: Sequence[tuple[str, Callable[[Any], Any] | None]]
    """Of the rows that come back: name, and what turns the driver's form into ours."""
    is_positional: bool

    def row(self, values: Sequence[Any]) -> Values:
        return {
            name: value if process is None else process(value)
            for (name, process), value in zip(self.columns, values, strict=True)
        }

    def values(self, parameters: Parameters) -> Any:
        given = {**self.fixed, **parameters}
        for name, process in self.processors.items():
            given[name] = process(given[name])
        return tuple([given[name] for name in self.names]) if self.is_positional else given
