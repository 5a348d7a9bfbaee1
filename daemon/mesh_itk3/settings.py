"""TOML, environment and credential files -> frozen settings, or every mistake in them, one line each.

Priority: credential file, environment, TOML. A credential file is the one place that systemd keeps from other users, so
nothing may shadow it; the environment is set for this process on purpose; the file is the ground that both stand on.
`docs/configuration.md` explains every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mesh_itk3.settings_errors import ConfigInvalid, sentence
from mesh_itk3.settings_rules import broken_rules
from mesh_itk3.settings_sources import (
    NAMED_TABLES,
    KeyPath,
    Source,
    credentials_directory,
    read_credentials,
    read_environment,
    read_toml,
)
from mesh_itk3.settings_tables import (
    AttachmentsSettings,
    DecisionsSettings,
    LedgerSettings,
    LimitsSettings,
    MailboxSettings,
    MeshSettings,
    PatientsSettings,
    PayloadsSettings,
    RetentionSettings,
    Table,
    WorkflowSettings,
)
from mesh_itk3.settings_values import (
    ANY_CASE,
    AbsolutePath,
    MailboxId,
)

__all__ = ["ConfigInvalid", "MailboxSettings", "MeshSettings", "Settings", "load_settings"]

DEFAULT_STATE_DIRECTORY: Final = "/var/lib/mesh-itk3"
NOT_READ: Final = "not read"
"""Stands for the secrets that a command does without; never sent to anybody."""


class Settings(BaseSettings):
    """The whole configuration. Made by `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    log_level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], ANY_CASE] = "auto"
    state_directory: AbsolutePath = Path(DEFAULT_STATE_DIRECTORY)
    """Where ledger, payloads and letters stand unless their own keys say otherwise."""
    mesh: MeshSettings
    mailboxes: Annotated[Mapping[MailboxId, MailboxSettings], Field(min_length=1)]
    ledger: LedgerSettings
    payloads: PayloadsSettings
    patients: PatientsSettings | None = None
    limits: LimitsSettings = LimitsSettings()
    attachments: AttachmentsSettings = AttachmentsSettings()
    decisions: DecisionsSettings = DecisionsSettings()
    retention: RetentionSettings = RetentionSettings()
    workflows: Mapping[str, WorkflowSettings] = {}
    handlers: Mapping[str, Mapping[str, Any]] = Field(default={}, repr=False)
    """Free tables, checked by each handler's own `Settings` when the registry loads it; may hold secrets of theirs."""

    _sources: tuple[Source, ...] = PrivateAttr(default=())
    _has_secrets: bool = PrivateAttr(default=True)

    @property
    def has_secrets(self) -> bool:
        """False: read with `needs_secrets=False`, by somebody who may not see them all."""
        return self._has_secrets

    def line(self, path: KeyPath, text: str) -> str:
        """A problem with one key, named as the operator wrote it: for checks that are made after loading."""
        return origin(path, self._sources).line(path, text)

    @property
    def kept_in(self) -> dict[str, Path]:
        """The directories that must have room before anything is collected, by what is kept there."""
        ledger = self.ledger.sqlite_file
        return {**({"ledger": ledger.parent} if ledger else {}), "payloads": self.payloads.directory}

    def spool_of(self, mailbox_id: str) -> Path | None:
        """Where foreign messages of this mailbox go; None where they stay in MESH."""
        mailbox = self.mailboxes[mailbox_id]
        if mailbox.foreign != "spool":
            return None
        return mailbox.spool or self.state_directory / "spool" / mailbox_id

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (read by us instead: see settings_sources)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources that `load_settings` has read, in its order, instead of whatever surrounds this process."""
        sources: Sequence[Source] = cast("InitSettingsSource", init_settings).init_kwargs["sources"]
        return tuple(_Given(settings_cls, source) for source in sources)


class _Given(PydanticBaseSettingsSource):
    """A source that has been read already; pydantic-settings merges them."""

    def __init__(self, settings_cls: type[BaseSettings], source: Source) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        return dict(self._source.data)


# --------------------------------------------------------------------------------------------------- loading


def load_settings(
    config: Path | None, credentials: Path | None, environ: Mapping[str, str], *, needs_secrets: bool = True
) -> Settings:
    """Reads everything. `config` None: environment and credential files alone. `credentials` goes before
    $CREDENTIALS_DIRECTORY. Raises ConfigInvalid with all that is wrong.

    `needs_secrets=False` is for whoever looks at the ledger only: passwords, shared key and certificate files may be
    missing or closed to this user, and a placeholder stands for what is missing.
    """
    sources = read_sources(config, credentials, environ, needs_secrets=needs_secrets)
    try:
        settings = _merged([*sources, _defaults(sources, needs_secrets=needs_secrets)])
    except ValidationError as error:
        raise ConfigInvalid(_lines(error, sources)) from None
    settings._has_secrets = needs_secrets  # noqa: SLF001 (of this module's own class)
    problems = list(broken_rules(settings))
    if problems:
        raise ConfigInvalid(settings.line(path, text) for path, text in problems)
    return settings


def _merged(sources: Sequence[Source]) -> Settings:
    make: Any = Settings  # `sources` is no key: settings_customise_sources takes it
    settings: Settings = make(sources=sources)
    settings._sources = tuple(sources)[:-1]  # noqa: SLF001 (of this module's own class)
    return settings


def read_sources(
    config: Path | None, credentials: Path | None, environ: Mapping[str, str], *, needs_secrets: bool = True
) -> list[Source]:
    """Credential files, environment, TOML: first wins. Raises ConfigInvalid."""
    environment = read_environment(environ)
    ground = [environment, read_toml(config)] if config is not None else [environment]
    directory = credentials_directory(credentials, environ)
    if directory is None:
        return ground

    def is_read(path: KeyPath) -> bool:
        return is_key(path) and is_mailbox_configured(path, ground)

    return [read_credentials(directory, is_read, may_be_closed=not needs_secrets), *ground]


def is_mailbox_configured(path: KeyPath, sources: Iterable[Source]) -> bool:
    """False for the credential of a mailbox that is not configured (any more): it must not bring it back half."""
    return path[0] != "mailboxes" or any(source.holds(path[:2]) for source in sources)


def _defaults(sources: Sequence[Source], *, needs_secrets: bool) -> Source:
    given = next((source.data["state_directory"] for source in sources if "state_directory" in source.data), None)
    root = given if isinstance(given, str) and given.startswith("/") else DEFAULT_STATE_DIRECTORY
    root = root.rstrip("/")
    places = {"ledger": {"url": f"sqlite:///{root}/ledger.db"}, "payloads": {"directory": f"{root}/payloads"}}
    return Source("defaults", "defaults", places if needs_secrets else {**places, **_placeholders(sources)})


def _placeholders(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    tables = [source.data.get("mailboxes") for source in reversed(sources)]
    mailbox_ids = dict.fromkeys(mailbox_id for table in tables if isinstance(table, Mapping) for mailbox_id in table)
    return {
        "mesh": {"shared_key": NOT_READ},
        "mailboxes": {mailbox_id: {"password": NOT_READ} for mailbox_id in mailbox_ids},
    }


def origin(path: KeyPath, sources: Sequence[Source]) -> Source:
    """The source whose value is in force; for a key that nobody gave, the one where an operator would write it."""
    return next((source for source in sources if source.holds(path)), sources[-1])


def _lines(error: ValidationError, sources: Sequence[Source]) -> Iterator[str]:
    for found in error.errors(include_url=False, include_input=False):
        path = _path_of(found["loc"])
        yield origin(path, sources).line(path, _text_of(cast("Mapping[str, Any]", found), path))


def _text_of(found: Mapping[str, Any], path: KeyPath) -> str:
    if path == ("mailboxes",) and found["type"] in {"missing", "too_short"}:
        return "at least one mailbox is required: [mailboxes.X26ABC2]"
    text = sentence(found, _keys_beside(path))
    return f"{text} (or a credential file {'__'.join(path)})" if found["type"] == "missing" and is_secret(path) else text


def _path_of(location: tuple[int | str, ...]) -> KeyPath:
    # pydantic adds `[key]` for a bad key of a mapping, and an index for an element of a list.
    path = tuple(str(part) for part in location if part != "[key]")
    return path[: 3 if path and path[0] in NAMED_TABLES else 2]


def _keys_beside(path: KeyPath) -> list[str]:
    if len(path) == 1:
        return list(Settings.model_fields)
    table = TABLES_BY_NAME.get(path[0])
    return list(table.model_fields) if table else []


# --------------------------------------------------------------------------------------------------- keys

TABLES_BY_NAME: Final[Mapping[str, type[Table]]] = {
    "mesh": MeshSettings,
    "mailboxes": MailboxSettings,
    "ledger": LedgerSettings,
    "payloads": PayloadsSettings,
    "patients": PatientsSettings,
    "limits": LimitsSettings,
    "attachments": AttachmentsSettings,
    "decisions": DecisionsSettings,
    "retention": RetentionSettings,
    "workflows": WorkflowSettings,
}


def is_key(path: KeyPath) -> bool:
    """Whether a path names a key that exists (for handlers: that may)."""
    table, *rest = path
    if table == "handlers":
        return len(rest) >= 2  # noqa: PLR2004 (handler, key)
    if table not in TABLES_BY_NAME:
        return len(path) == 1 and table in Settings.model_fields
    depth = 1 if table in NAMED_TABLES else 0
    return len(rest) == depth + 1 and rest[depth] in TABLES_BY_NAME[table].model_fields


def names_of_secrets(mailbox_ids: Iterable[str]) -> list[str]:
    """What credential files may be called, for the keys that hold secrets."""
    return ["mesh__shared_key", "ledger__url", *(f"mailboxes__{mailbox_id}__password" for mailbox_id in mailbox_ids)]


def is_secret(path: KeyPath) -> bool:
    """Whether the key's value is for this service alone."""
    return path[0] in TABLES_BY_NAME and path[-1] in {"shared_key", "password"}
