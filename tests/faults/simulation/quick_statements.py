"""SQLAlchemy's statements over a raw SQLite cursor, without what a server needs around them.

The engine's statements stay SQLAlchemy's: its compiler makes the SQL, its types turn values into
columns and back. Left out is the execution context, built anew for each statement, that took half
of a simulated run. Whatever is not plain goes the usual way.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Convert = Callable[[Any], Any] | None


class Shape(NamedTuple):
    """What all executions of one compiled statement have in common."""

    compiled: Any
    converters: tuple[tuple[str, Convert], ...]
    lists: tuple[str, ...]
    columns: SimpleResultMetaData | None
    texts: dict[tuple[int, ...], str]

    def sql(self, given: Mapping[str, Any]) -> str:
        """The text, with a place for each value of its lists."""
        lengths = tuple([len(given[name]) for name in self.lists])
        known = self.texts.get(lengths)
        if known is None:
            known = self.compiled._process_parameters_for_postcompile(dict(given)).statement
            self.texts[lengths] = known
        return known

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """What goes into the places, in their order."""
        values = []
        for name, convert in self.converters:
            value = given[name]
            several = value if name in self.lists else (value,)
            values += several if convert is None else map(convert, several)
        return values


class Plan(NamedTuple):
    """A statement with the values that it holds itself. No shape: it goes the usual way."""

    shape: Shape | None
    own: Mapping[str, Any]


class Rows(IteratorResult[Any]):
    """A result that also knows how many rows were changed."""

    rowcount: int = -1


class QuickConnection:
    """Executes what `Connection` executes; anything else is asked of the real one."""

    def __init__(self, real: Connection, raw: sqlite3.Connection) -> None:
        self.real = real
        self._raw = raw
        self.dialect = real.dialect
        self._compiled: LRUCache[Any, Any] = LRUCache(2000)
        self._shapes: dict[int, tuple[SQLCompiler, Shape | None]] = {}
        self._plans: weakref.WeakKeyDictionary[Any, dict[Any, Plan]] = weakref.WeakKeyDictionary()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def execute(self, statement: Any, parameters: Parameters = None) -> Any:
        """The rows of a statement; raises what SQLAlchemy raises."""
        several = [parameters] if isinstance(parameters, Mapping) else parameters or [{}]
        names = (*sorted(several[0]), len(several) > 1)
        plans = self._plans.get(statement)
        plan = None if plans is None else plans.get(names)
        if plan is None:
            plan = self._planned(statement, several)
            self._plans.setdefault(statement, {})[names] = plan
        if plan.shape is None:
            return self.real.execute(statement, parameters)
        try:
            return _result(self._raw, plan.shape, [{**plan.own, **one} for one in several])
        except sqlite3.Error:
            return self.real.execute(statement, parameters)  # raises it as SQLAlchemy's own

    def exec_driver_sql(self, text: str, rows: Sequence[Any]) -> Any:
        """A statement of the driver's for each row; raises what SQLAlchemy raises."""
        try:
            return self._raw.executemany(text, rows)
        except sqlite3.Error:
            return self.real.exec_driver_sql(text, list(rows))

    def _planned(self, statement: Any, several: Sequence[Mapping[str, Any]]) -> Plan:
        if not hasattr(statement, "_compile_w_cache"):
            return Plan(None, {})
        compiled, extracted, *_ = statement._compile_w_cache(
            self.dialect,
            compiled_cache=self._compiled,
            column_keys=sorted(several[0]),
            for_executemany=len(several) > 1,
            schema_translate_map=None,
        )
        known = self._shapes.get(id(compiled))
        if known is None or known[0] is not compiled:
            known = (compiled, _shape(compiled))
            self._shapes[id(compiled)] = known
        if known[1] is None:
            return Plan(None, {})
        own = compiled.construct_params(several[0], extracted_parameters=extracted)
        return Plan(known[1], own)


def _shape(compiled: Any) -> Shape | None:
    """None for whatever needs SQLAlchemy at every execution."""
    is_plain = isinstance(compiled, SQLCompiler) and not (
        compiled.literal_execute_params
        or any(parameter.type._is_tuple_type for parameter in compiled.post_compile_params)
        or compiled.insert_prefetch
        or compiled.update_prefetch
        or compiled.isplaintext
    )
    if not is_plain:
        return None
    names = compiled.positiontup or []
    return Shape(
        compiled,
        tuple((name, compiled._bind_processors.get(name)) for name in names),
        tuple(compiled.bind_names[parameter] for parameter in compiled.post_compile_params),
        _columns(compiled),
        {},
    )


def _columns(compiled: SQLCompiler) -> SimpleResultMetaData | None:
    entries = compiled._result_columns
    if not entries:
        return None
    return SimpleResultMetaData(
        [entry.keyname for entry in entries],
        extra=[tuple(entry.objects) for entry in entries],
        _processors=[
            entry.type._cached_result_processor(compiled.dialect, None) for entry in entries
        ],
    )


def _result(raw: sqlite3.Connection, shape: Shape, several: Sequence[Mapping[str, Any]]) -> Rows:
    sql = shape.sql(several[0])
    if len(several) == 1:
        cursor = raw.execute(sql, shape.values(several[0]))
    else:
        cursor = raw.executemany(sql, [shape.values(one) for one in several])
    found = [] if shape.columns is None else cursor.fetchall()
    result = Rows(shape.columns or SimpleResultMetaData(()), iter(found))
    result.rowcount = cursor.rowcount
    return result
