"""Daemons with one fault each, planted on purpose: `mesh-itk3 prove --daemon broken_daemons:NAME`. The oracle has to see it."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from mesh_itk3.ports import SendRefused


class Standing:
    """Stands before a port and changes some of its methods; each is given the call that it stands for."""

    def __init__(self, target, **changed):
        self._target, self._changed = target, changed

    def __getattr__(self, name):
        call = getattr(self._target, name)
        if name not in self._changed:
            return call
        return lambda *args, **kwargs: self._changed[name](call, *args, **kwargs)


def _mailbox(daemon, **changed):
    for mailbox_id, mailbox in daemon.mailboxes.items():
        broken = Standing(mailbox, **changed)
        daemon.mailboxes[mailbox_id] = daemon.collectors[mailbox_id].mailbox = broken


def _handler(daemon, after):
    """`after` gets the directory of each letter that is filed."""

    def handle(call, message, context):
        outcome = call(message, context)
        for metadata in Path(daemon.settings.state_directory, "letters").glob("*/[!.]*/metadata.json"):
            after(metadata.parent)
        return outcome

    for found in daemon.registry.all:
        if found.loaded is not None:
            object.__setattr__(found.loaded, "handler", Standing(found.loaded.handler, handle=handle))


def _also_send(call, outgoing, **changes):
    return call(dataclasses.replace(outgoing, **changes))


def _new_id():
    return str(uuid.uuid4())


# ------------------------------------------------------------------------------------------------ collecting


def acknowledges_before_it_keeps(daemon):
    (mailbox,) = daemon.mailboxes.values()

    def open_(call, mesh_message_id):
        download = call(mesh_message_id)
        mailbox.acknowledge(mesh_message_id)
        return download

    _mailbox(daemon, open=open_)


def loses_payloads(daemon):
    def record(call, received):
        call(received)
        for each, _ in received:
            daemon.payloads.discard(each.payload.name)

    ledger = Standing(daemon.ledger, record_all_received=record)
    daemon.ledger, daemon.world = ledger, dataclasses.replace(daemon.world, ledger=ledger)
    for collector in daemon.collectors.values():
        collector.ledger = ledger


def never_acknowledges(daemon):
    _mailbox(daemon, acknowledge=lambda call, mesh_message_id: None)


def takes_what_is_foreign(daemon):
    (mailbox,) = daemon.mailboxes.values()

    def open_(call, mesh_message_id):
        download = call(mesh_message_id)
        if not daemon.registry.is_ours(download.headers.workflow_id):
            mailbox.acknowledge(mesh_message_id)
        return download

    _mailbox(daemon, open=open_)


def walks_without_end(daemon):
    def pages(call):
        for _ in range(20):
            yield from call()

    _mailbox(daemon, pages=pages)


# ------------------------------------------------------------------------------------------------ answering


def answers_twice(daemon):
    def send(call, outgoing):
        _also_send(call, outgoing, local_id=_new_id())
        return call(outgoing)

    _mailbox(daemon, send=send)


def repeats_with_other_bytes(daemon):
    def send(call, outgoing):
        _also_send(call, outgoing, body=outgoing.body.replace(b"<Bundle ", b"<Bundle  "))
        return call(outgoing)

    _mailbox(daemon, send=send)


def goes_on_after_a_refusal(daemon):
    def send(call, outgoing):
        sent = call(outgoing)
        if b'"10010"' in outgoing.body:
            _also_send(call, outgoing, local_id=_new_id(), body=outgoing.body.replace(b'"10010"', b'"30001"'))
        return sent

    _mailbox(daemon, send=send)


def gives_another_code(daemon):
    _mailbox(daemon, send=lambda call, outgoing: _also_send(call, outgoing, body=outgoing.body.replace(b'"20013"', b'"20014"')))


def answers_somebody_else(daemon):
    _mailbox(daemon, send=lambda call, outgoing: _also_send(call, outgoing, to_mailbox_id="X26ABC3"))


def never_answers(daemon):
    _mailbox(daemon, send=lambda call, outgoing: "20250101000000000000_000000")


def answers_in_the_wrong_order(daemon):
    kept = []

    def send(call, outgoing):
        if b'"20013"' in outgoing.body:
            kept.append(outgoing)
            return "20250101000000000000_000000"
        sent = call(outgoing)
        while kept:
            call(kept.pop())
        return sent

    _mailbox(daemon, send=send)


# ------------------------------------------------------------------------------------------------ what is parked


def _after_a_refusal(daemon, send_again):
    """`send_again` stands for the send of what MESH has refused before, in whichever run."""
    refused = Path(daemon.settings.state_directory, "refused")

    def send(call, outgoing):
        if refused.exists() and outgoing.local_id in refused.read_text():
            return send_again(call, outgoing)
        try:
            return call(outgoing)
        except SendRefused:
            refused.write_text((refused.read_text() if refused.exists() else "") + outgoing.local_id)
            raise

    _mailbox(daemon, send=send)


def retries_under_a_new_id(daemon):
    _after_a_refusal(daemon, lambda call, outgoing: _also_send(call, outgoing, local_id=_new_id()))


def retries_with_other_bytes(daemon):
    def send_again(call, outgoing):
        return _also_send(call, outgoing, body=outgoing.body.replace(b"<Bundle ", b"<Bundle  "))

    _after_a_refusal(daemon, send_again)


def answers_twice_when_it_retries(daemon):
    def send_again(call, outgoing):
        _also_send(call, outgoing, local_id=_new_id())
        return call(outgoing)

    _after_a_refusal(daemon, send_again)


def parks_what_nobody_refused(daemon):
    def send(call, outgoing):
        raise SendRefused("12")

    _mailbox(daemon, send=send)


def _goes_on(daemon, state):
    with closing(sqlite3.connect(Path(daemon.settings.state_directory, "ledger.db"))) as ledger, ledger:
        ledger.execute("UPDATE message SET state = parked_from, parked_from = NULL WHERE state = ?", (state,))


def goes_on_with_what_is_held(daemon):
    _goes_on(daemon, "parked")


def goes_on_with_what_is_abandoned(daemon):
    _goes_on(daemon, "abandoned")


# ------------------------------------------------------------------------------------------------ filing


def files_twice(daemon):
    _handler(daemon, lambda letter: shutil.copytree(letter, letter.with_name(f"{letter.name}--2"), dirs_exist_ok=True))


def files_half(daemon):
    _handler(daemon, lambda letter: (letter / "message.xml").write_bytes(b"<Bundle"))


def files_nothing(daemon):
    _handler(daemon, shutil.rmtree)


def does_not_run(daemon):
    raise ValueError("broken on purpose")
