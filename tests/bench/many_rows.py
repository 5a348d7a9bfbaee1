"""A ledger with very many settled messages, each as a real one is: its row, four lines of its timeline, both responses
delivered. Written in bulk, past the ledger's own code, which would take hours.
"""

# ruff: noqa: S608 - statements of constants only

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations

MAILBOX = "X26ABC2"
HOSPITAL = "X26ABC1"
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
BODY_BYTES = 300
"""A real response has some 3,000: a million of them would fill the disk of most machines with what is never read here."""

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
_AT = "strftime('%Y-%m-%dT%H:%M:%S', '2024-01-01', '+' || (i * 30) || ' seconds') || '.000000+00:00'"
_ID = "strftime('%Y%m%d%H%M%S', '2024-01-01', '+' || (i * 30) || ' seconds') || printf('%06d_A1B2C3', i % 1000000)"
_MESSAGES = f"""INSERT INTO message (mailbox_id, mesh_message_id, workflow_id, kind, state, received_at, sender_mailbox_id,
    local_id, payload_name, payload_bytes, payload_sha256, acknowledged_at, message_header_id, message_header_id_key,
    event_code, document_id, document_id_key, bus_ack_requested, inf_ack_requested, response_code, handler,
    accepted_at, finished_at)
    {_NUMBERS} SELECT '{MAILBOX}', {_ID}, 'TOC_FHIR_IP_DISCH', 'message', 'completed', {_AT}, '{HOSPITAL}', 'local-' || i,
    '{MAILBOX}/2024-01/' || printf('%032x', i) || '.bin', 20000, printf('%064x', i), {_AT}, lower(hex(randomblob(16))),
    lower(hex(randomblob(16))), 'ITK003D', 'urn:system|' || hex(randomblob(16)), 'urn:system|' || lower(hex(randomblob(16))),
    1, 1, '30001', 'transfer_of_care', {_AT}, {_AT} FROM n"""
_EVENTS = f"""INSERT INTO message_event (mailbox_id, mesh_message_id, at, stage, outcome, response_code)
    {_NUMBERS}, line(stage, outcome) AS (VALUES ('collect', 'received'), ('interpret', 'accepted'), ('dispatch', 'completed'),
    ('respond', 'sent')) SELECT '{MAILBOX}', {_ID}, {_AT}, stage, outcome, NULL FROM n, line"""
_RESPONSES = f"""INSERT INTO response (local_id, mailbox_id, answered_mesh_message_id, level, response_code, state,
    message_header_id, message_header_id_key, to_mailbox_id, workflow_id, created_at, mesh_message_id, sent_at, tracked_at)
    {_NUMBERS}, level(level, code) AS (VALUES ('infrastructure', '20013'), ('business', '30001'))
    SELECT level || '-' || printf('%032x', i), '{MAILBOX}', {_ID}, level, code, 'delivered', lower(hex(randomblob(16))),
    lower(hex(randomblob(16))), '{HOSPITAL}', 'TOC_FHIR_IP_DISCH_ACK', {_AT}, upper(hex(randomblob(10))), {_AT}, {_AT}
    FROM n, level"""
_BODIES = f"""INSERT INTO response_body (local_id, body) {_NUMBERS}, level(level) AS (VALUES ('infrastructure'), ('business'))
    SELECT level || '-' || printf('%032x', i), randomblob(:body_bytes) FROM n, level"""


def a_ledger_of(directory: Path, messages: int, migrations: Migrations = SHIPPED, body_bytes: int = BODY_BYTES) -> str:
    """Its URL."""
    directory.mkdir(parents=True)
    url = f"sqlite:///{directory}/ledger.db"
    migrate(url, BEGAN, migrations)
    with closing(sqlite3.connect(directory / "ledger.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        for first in range(1, messages + 1, 100_000):
            numbers = {"first": first, "last": min(messages, first + 99_999)}
            connection.execute("BEGIN")
            for statement in (_MESSAGES, _EVENTS, _RESPONSES):
                connection.execute(statement, numbers)
            connection.execute(_BODIES, {**numbers, "body_bytes": body_bytes})
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return url
