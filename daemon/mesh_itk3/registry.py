"""Entry points -> handlers. Refuses two handlers for one message, naming both distributions.

A handler that cannot work is kept in mind, not forgotten: its workflows stay ours, so their messages stay in MESH until
it is repaired (design rule 7).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from mesh_itk3 import events
from mesh_itk3.handler import Declaration, Handler, HandlerSettings
from mesh_itk3.handler_conflicts import refuse_conflicts
from mesh_itk3.itk3.workflows import BY_DECLARATION, Workflow, WorkflowTable
from mesh_itk3.settings import Settings
from mesh_itk3.settings_errors import ConfigInvalid, HandlerConflict, no_such_key, sentence, short_name
from mesh_itk3.settings_sources import KeyPath, Source
from mesh_itk3.workflow_table import shipped, with_overrides

__all__ = ["ConfigInvalid", "Found", "HandlerConflict", "Loaded", "Registry", "load_handlers"]

GROUP: Final = "mesh_itk3.handlers"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A working handler and where it came from."""

    name: str
    handler: Handler
    declaration: Declaration
    distribution: str
    version: str
    outputs: tuple[Path, ...] = ()
    """The directories that it files letters in."""


@dataclass(frozen=True, slots=True)
class Found:
    """An installed handler, whether or not it works."""

    name: str
    distribution: str
    version: str
    is_enabled: bool
    declaration: Declaration | None
    """None: it could not even be imported, so nobody knows which workflows it takes."""
    loaded: Loaded | None
    problem: str | None = None
    """Why it does not work, safe to log. None where it works or is disabled."""

    @property
    def provenance(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def is_broken(self) -> bool:
        return self.is_enabled and self.loaded is None

    def takes(self, workflow_id: str) -> bool:
        return self.declaration is not None and workflow_id in self.declaration.workflows


class Registry:
    """Which workflows are ours, and who takes them. Immutable, safe to use from several threads."""

    def __init__(self, found: Iterable[Found], workflows: WorkflowTable) -> None:
        """Raises HandlerConflict."""
        self.all = tuple(sorted(found, key=lambda one: one.name))
        """Every installed handler by name, for `check` and `status`."""
        refuse_conflicts(self.all, workflows)
        self._workflows = workflows
        self._declared = {
            workflow_id: response_workflow_id
            for one in self.all
            if one.declaration is not None
            for workflow_id, response_workflow_id in one.declaration.workflows.items()
        }
        self._response_workflows = frozenset(filter(None, self._declared.values()))

    @property
    def outputs(self) -> dict[Path, tuple[str, ...]]:
        """The directories that working handlers file letters in, as far as their settings name them; and whose each is."""
        found: dict[Path, tuple[str, ...]] = {}
        for one in self.all:
            for output in dict.fromkeys(one.loaded.outputs if one.loaded else ()):
                found[output] = (*found.get(output, ()), one.name)
        return found

    @property
    def workflows(self) -> frozenset[str]:
        """Every workflow that an installed handler names."""
        return frozenset(self._declared)

    def is_ours(self, workflow_id: str) -> bool:
        """An installed handler names it, loadable or not, or it is the response workflow of one that does. While a
        handler cannot be imported every workflow may be one of its own: none is foreign until that is mended, because a
        foreign message may be handed to another client and would then be lost to its handler.
        """
        return workflow_id in self._declared or workflow_id in self._response_workflows or bool(self._unreadable())

    def is_response_workflow(self, workflow_id: str) -> bool:
        """Any response workflow of the table or of a declaration (design rule 17)."""
        return workflow_id in self._response_workflows or self._workflows.is_response_workflow(workflow_id)

    def unavailable(self, workflow_id: str) -> str | None:
        """Why messages on this workflow cannot be taken now, for the log; None where they can. An enabled handler that
        is broken holds the whole workflow, also where others share it: its messages cannot be told by their headers.
        Response workflows need no handler and are always available.
        """
        if workflow_id in self._response_workflows:
            return None
        takers = [one for one in self.all if one.takes(workflow_id)]
        broken = [one for one in takers if one.is_broken]
        if not takers:
            broken = self._unreadable()
        if broken:
            return "; ".join(f"{one.name} ({one.provenance}) {one.problem}" for one in broken)
        if takers and not any(one.loaded for one in takers):
            return "; ".join(f"{one.name} ({one.provenance}) is disabled" for one in takers)
        return None

    def response_workflow(self, workflow_id: str) -> str | None:
        """Where answers to this workflow go; None where it is never answered."""
        if workflow_id in self._declared:
            return self._declared[workflow_id]
        if workflow_id in self._response_workflows:
            return workflow_id  # a reply to a response stays on the same workflow (workflow table)
        row = self._workflows.get(workflow_id)
        return (row.ack_workflow_id or None) if row else None

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Its row of the workflow table; None where it has none."""
        return self._workflows.get(workflow_id)

    def event_codes(self, workflow_id: str) -> frozenset[str]:
        """The events that the enabled handlers of this workflow take; empty: any."""
        codes = [one.declaration.event_codes for one in self._working(workflow_id)]
        return frozenset[str]().union(*codes) if all(codes) else frozenset()

    def needs_document(self, workflow_id: str) -> bool:
        """Whether the payload has to be one ITK3 document."""
        return all(one.declaration.needs_document for one in self._working(workflow_id))

    def message_definitions(self, workflow_id: str) -> frozenset[str]:
        """The MessageDefinition URLs that the enabled handlers of this workflow declare beside the known ones."""
        return frozenset[str]().union(*(one.declaration.message_definitions for one in self._working(workflow_id)))

    def reason_text(self, handler_name: str | None, word: str | None) -> str | None:
        """The sentence for a word of a handler's own vocabulary, whether or not the handler works now; None for others."""
        for one in self.all:
            if one.name == handler_name and one.declaration is not None and word is not None:
                return one.declaration.reasons.get(word)
        return None

    def route(self, workflow_id: str, event_code: str | None, composition_type: str | None) -> Loaded | None:
        """The one working handler of this message: by workflow, then event, then Composition.type."""
        for one in self._working(workflow_id):
            events_taken, types_taken = one.declaration.event_codes, one.declaration.composition_types
            if (not events_taken or event_code in events_taken) and (not types_taken or composition_type in types_taken):
                return one
        return None

    def by_name(self, name: str) -> Loaded | None:
        """The working handler of this name."""
        return next((one.loaded for one in self.all if one.name == name), None)

    def declaration(self, name: str | None) -> Declaration | None:
        """Of the enabled handler of this name, also where it cannot work in this process, which may lack its secrets."""
        return next((one.declaration for one in self.all if one.name == name and one.is_enabled), None)

    def _working(self, workflow_id: str) -> list[Loaded]:
        return [one.loaded for one in self.all if one.loaded is not None and one.takes(workflow_id)]

    def _unreadable(self) -> list[Found]:
        return [one for one in self.all if one.declaration is None]


# --------------------------------------------------------------------------------------------------- loading


Line = Callable[[KeyPath, str], str]


def _line(path: KeyPath, text: str) -> str:
    return Source("file", "configuration", {}).line(path, text)


def load_handlers(
    handler_tables: Mapping[str, Mapping[str, Any]],
    workflows: WorkflowTable,
    state_directory: Path,
    installed: Iterable[EntryPoint] | None = None,
    *,
    overridden: Iterable[str] = (),
    line: Line = _line,
    needs_secrets: bool = True,
) -> Registry:
    """Every installed handler, loaded with its own table of the configuration. `installed` None: this environment's
    entry points. `overridden` are the workflows that the configuration names in `[workflows.W]`. `line` names a key to
    the operator (`Settings.line` knows the file). `needs_secrets=False`: a key that is missing may be a secret that this
    user may not read, so its handler only does not work here. Raises HandlerConflict, and ConfigInvalid for a table that
    names no handler or workflow, or does not fit its handler.
    """
    points = list(entry_points(group=GROUP)) if installed is None else list(installed)
    _refuse_unknown_tables(handler_tables, {point.name for point in points}, line)
    make_settings = partial(_settings, state_directory=state_directory, line=line, needs_secrets=needs_secrets)
    load = partial(_find, handler_tables=handler_tables, make_settings=make_settings, line=line)
    found: list[Found] = []
    problems: list[str] = []
    for point in _each_once(points):
        try:
            found.append(load(point))
        except ConfigInvalid as error:
            problems += error.problems
    registry = Registry(found, workflows)
    names = {row.workflow_id for row in workflows.rows if row.ack_workflow_id != BY_DECLARATION} | registry.workflows
    unknown = [name for name in overridden if name not in names and not registry.is_ours(name)]
    problems += [line(("workflows", name), no_such_key(name, names, thing="workflow")) for name in unknown]
    if problems:
        raise ConfigInvalid(problems)
    return registry


def registry_of(settings: Settings) -> Registry:
    """The installed handlers with this configuration. Raises HandlerConflict, ConfigInvalid."""
    return load_handlers(
        settings.handlers,
        with_overrides(shipped(), settings.workflows),
        settings.state_directory,
        overridden=settings.workflows,
        line=settings.line,
        needs_secrets=settings.has_secrets,
    )


def _each_once(points: Iterable[EntryPoint]) -> Iterator[EntryPoint]:
    # An editable install can stand on the path twice; two distributions with one name are a conflict, said later.
    seen: set[tuple[str, str, str]] = set()
    for point in points:
        key = (point.name, point.value, _provenance(point)[0])
        if key not in seen:
            seen.add(key)
            yield point


def _provenance(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return ("unknown", "0")
    said = point.dist.metadata  # each `name` and `version` would read and parse the file anew
    return (said["Name"], said["Version"])


def _refuse_unknown_tables(tables: Mapping[str, object], names: Collection[str], line: Line) -> None:
    unknown = [name for name in tables if name not in names]
    if unknown:
        raise ConfigInvalid(line(("handlers", name), no_such_key(name, names, thing="handler installed")) for name in unknown)


def _find(
    point: EntryPoint,
    *,
    handler_tables: Mapping[str, Mapping[str, Any]],
    make_settings: Callable[[type[Handler], str, Mapping[str, Any] | None], HandlerSettings],
    line: Line,
) -> Found:
    distribution, version = _provenance(point)
    table = handler_tables.get(point.name)
    is_enabled = _is_enabled(point.name, table, line)
    make = partial(Found, name=point.name, distribution=distribution, version=version, is_enabled=is_enabled)
    try:
        handler_class = _handler_class(point)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code: its import may raise anything, we go on
        return make(declaration=None, loaded=None, problem=_cause("cannot be imported", error))
    declaration = handler_class.declaration
    if declaration.name != point.name:
        return make(declaration=declaration, loaded=None, problem="is declared under another name than its entry point")
    if not is_enabled:
        return make(declaration=declaration, loaded=None)
    try:
        settings = make_settings(handler_class, point.name, table)
        handler, outputs = handler_class(settings), _outputs(settings)
    except ConfigInvalid:
        raise
    except _NotConfigured as error:
        return make(declaration=declaration, loaded=None, problem=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code: whatever it raises says that it cannot work
        return make(declaration=declaration, loaded=None, problem=_cause("cannot be started", error))
    return make(declaration=declaration, loaded=Loaded(point.name, handler, declaration, distribution, version, outputs))


def _outputs(settings: HandlerSettings) -> tuple[Path, ...]:
    directories = settings.letter_directories
    if not (isinstance(directories, tuple) and all(isinstance(each, Path) for each in directories)):
        raise TypeError("a handler's letter_directories are no tuple of paths")
    return directories


def _is_enabled(name: str, table: Mapping[str, Any] | None, line: Line) -> bool:
    # Read before the handler is imported: a handler that is broken can be disabled.
    try:
        return TypeAdapter(bool).validate_python((table or {}).get("enabled", True))
    except ValidationError:
        raise ConfigInvalid([line(("handlers", name, "enabled"), "must be true or false")]) from None


def _handler_class(point: EntryPoint) -> type[Handler]:
    loaded = point.load()
    if not (isinstance(loaded, type) and issubclass(loaded, Handler)):
        raise TypeError("not a Handler")
    declaration = getattr(loaded, "declaration", None)
    if not (isinstance(declaration, Declaration) and isinstance(declaration.workflows, Mapping)):
        raise TypeError("no Declaration")
    if not isinstance(declaration.reasons, Mapping):
        raise TypeError("a Declaration's reasons are no mapping")
    sets = (declaration.event_codes, declaration.composition_types, declaration.message_definitions)
    if not all(isinstance(values, AbstractSet) and all(isinstance(value, str) for value in values) for values in sets):
        raise TypeError("a Declaration's codes or definitions are no set of texts")
    return loaded


class _NotConfigured(Exception):
    """A handler was installed but has no table yet: no reason to stop the others."""


def _settings(
    handler_class: type[Handler],
    name: str,
    table: Mapping[str, Any] | None,
    *,
    state_directory: Path,
    line: Line,
    needs_secrets: bool,
) -> HandlerSettings:
    """Raises ConfigInvalid for a table that was written and is wrong, _NotConfigured where one is needed and missing."""
    fields = handler_class.Settings.model_fields
    defaults = {"output": str(state_directory / "letters")} if "output" in fields else {}
    try:
        return handler_class.Settings.model_validate({**defaults, **(table or {})})
    except ValidationError as error:
        found: list[Mapping[str, Any]] = [dict(one) for one in error.errors(include_url=False, include_input=False)]
    missing = ", ".join(sorted({str(one["loc"][0]) for one in found if one["loc"]}))
    if table is None:
        raise _NotConfigured(f"is not configured: [handlers.{name}] needs {missing}")
    if not needs_secrets and all(one["type"] == "missing" for one in found):
        raise _NotConfigured(f"cannot be told without what this user may not read: [handlers.{name}] needs {missing}")
    raise ConfigInvalid(line(("handlers", name, *map(str, one["loc"][:1])), sentence(one, list(fields))) for one in found)


def _cause(what: str, error: BaseException) -> str:
    # Never str(error): it may quote the handler's settings, and those may be secrets.
    at = events.where(error)
    module = f" {short_name(error.name)}" if isinstance(error, ImportError) and error.name else ""
    return f"{what}: {at['error_type']}{module} at {at['error_at']}"
