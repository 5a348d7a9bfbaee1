"""The log vocabulary: one constant per event, with its level, its meaning and what the operator does.

Names are a contract: dashboards and alert rules match on them. Fields are an allow-list: whatever is not in FIELDS never
reaches a log. No event carries patient data at any level: no names, numbers, birth dates, narrative, subjects, file names.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog

FIELDS: Final[frozenset[str]] = frozenset(
    {
        # the canonical fields of a stage's event
        "mailbox_id", "workflow_id", "mesh_message_id", "message_header_id", "stage", "outcome", "response_code",
        "attempt", "duration_ms",
        # what else may be said
        "acknowledged", "actor", "bytes", "collected", "count", "days_left", "directory", "distribution", "error_at",
        "error_type", "event_code", "exit_code", "expires_at", "foreign", "handler", "hours_left", "level", "local_id", "pages",
        "pid", "problem", "reason", "response_mesh_message_id", "retry_in_s", "rule", "schema", "seconds", "state",
        "status_code", "version", "warnings",
    }
)  # fmt: skip
"""Every field that a log line may have (beside `timestamp`, `severity`, `event`, `text`, `logger`)."""

Severity = Literal["debug", "info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of log line."""

    name: str
    severity: Severity
    text: str
    """What happened, as a sentence for a person."""
    operator: str = "Nothing."
    """What the operator does about it."""


# ------------------------------------------------------------------------------------------------ the service
SERVICE_STARTED = Event("service.started", "info", "The daemon has started and is ready.")
SERVICE_STOPPING = Event("service.stopping", "info", "The daemon was told to stop and finishes what is in hand.")
SERVICE_STOPPED = Event("service.stopped", "info", "The daemon has stopped; nothing was left half done.")
SERVICE_STALLED = Event(
    "service.stalled",
    "error",
    "A stage has made no progress for too long.",
    "Look for a handler or a disk that hangs. A handler's process is killed and started again; for a stage that talks to MESH"
    " systemd restarts the service.",
)
CLOCK_SET_BACK = Event(
    "clock.set_back",
    "warning",
    "The clock of this machine was set back; everything goes on by the new time.",
    "See that the machine keeps time (`timedatectl`): MESH refuses one that is wrong, and times in the timeline go back.",
)
INNER_DIED = Event(
    "inner.died",
    "error",
    "The process that reads messages and runs handlers has ended by itself; another is started.",
    "If it repeats, look at the handler of the messages that are tried alone (`mesh-itk3 status`); nothing is lost.",
)
SERVICE_FAILED = Event(
    "service.failed",
    "critical",
    "The program, or one of its threads, ended on an error that nothing had expected.",
    "See `error_type` and `error_at`; report it. systemd restarts the service; nothing is lost.",
)
SERVICE_UNHEARD = Event(
    "service.unheard",
    "warning",
    "systemd could not be told how the service is; if that lasts, it restarts the service.",
    "See `error_type`; look at NOTIFY_SOCKET and NotifyAccess= of the unit.",
)
CONFIG_RELOADED = Event("config.reloaded", "info", "The configuration was read again and is in force.")
CONFIG_INVALID = Event(
    "config.invalid",
    "error",
    "The new configuration is wrong; the old one stays in force.",
    "Run `mesh-itk3 check`, correct the key that `problem` names, reload.",
)
CONFIG_ADVICE = Event(
    "config.advice",
    "warning",
    "The configuration works, but something about it should be changed.",
    "See `problem`; `mesh-itk3 check` lists them all.",
)
LEDGER_UPGRADED = Event("ledger.upgraded", "info", "The ledger's schema was brought up to date, after a backup copy.")
LEDGER_RECOVERED = Event(
    "ledger.recovered",
    "warning",
    "Messages that were in progress when the last process died are tried one at a time.",
    "Find out why the process died (journal, memory).",
)
LEDGER_FAILED = Event(
    "ledger.failed",
    "critical",
    "The ledger cannot be used; nothing is collected until it can.",
    "See `reason`: free disk space; `mesh-itk3 ledger check` says what is damaged, `mesh-itk3 ledger restore` is the way out.",
)
LEDGER_UNCHECKED = Event(
    "ledger.unchecked",
    "warning",
    "The last process died, and the ledger is too large to be looked through whole at a start.",
    "Run `mesh-itk3 ledger check` in a quiet hour.",
)
LEDGER_RESTORED = Event(
    "ledger.restored", "warning", "A person has put a backup in the place of the ledger; the old one is kept beside it."
)
LEDGER_ADOPTED = Event(
    "ledger.adopted",
    "warning",
    "A person has had letters taken up from the payload store that the ledger did not know; answers are looked up before they"
    " are sent.",
)
LEDGER_USABLE = Event("ledger.usable", "info", "The ledger can be used again; what had waited for it goes on.")
LEASE_LOST = Event("lease.lost", "error", "Another daemon has taken over this mailbox.", "Run one daemon per mailbox.")
STORAGE_FAILED = Event(
    "storage.failed",
    "critical",
    "The disk refused a durable write, too little of it is free, or a directory is not the one it was. With `stage` collect"
    " nothing is collected, and MESH keeps the messages; with another, messages that are here wait.",
    "See `reason`; free space, repair the disk or mount the share. All goes on by itself, and `storage.usable` says so.",
)
OUTPUT_MARKED = Event(
    "output.marked",
    "info",
    "A directory for letters has got its mark, or its mark is remembered: its first letter, the first since it was emptied, or"
    " a person has said so.",
    "See that `directory` is the right one, and its share mounted: letters are filed there from now on. After each run of a"
    " program that takes letters on: have it leave the mark.",
)
STORAGE_USABLE = Event("storage.usable", "info", "The disk takes durable writes again; what had waited for it goes on.")
HANDLER_LOADED = Event("handler.loaded", "info", "A handler was found and takes its workflows.")
HANDLER_UNAVAILABLE = Event(
    "handler.unavailable",
    "error",
    "The handler of this workflow is disabled, broken or gone. Its messages stay in MESH; those that are here already (with"
    " `state`) are kept here and wait for it. Said once, not for each message.",
    "Repair, enable or install the handler: all of them then go on. MESH gives up what it has after five days; what is here"
    " waits for ever, in `mesh-itk3 owed`.",
)
REGISTER_UNUSABLE = Event(
    "register.unusable",
    "error",
    "The patient register cannot be used; business decisions wait for a person.",
    "See `reason`; write a fresh, complete register file.",
)
CERTIFICATE_EXPIRING = Event(
    "certificate.expiring",
    "warning",
    "The client certificate expires soon.",
    "Order a new certificate now (about five working days).",
)
PAYLOADS_SWEPT = Event("payloads.swept", "info", "Payload files that a crash had left were removed.")
RETENTION_PRUNED = Event(
    "retention.pruned", "info", "What `[retention]` lets go of was removed: payloads, bytes of responses or timeline entries."
)
RETENTION_HELD_BACK = Event(
    "retention.held_back",
    "warning",
    "This machine's clock is days past the last time that MESH has answered: `[retention]` counts from that time.",
    "See that the machine keeps time (`timedatectl`), and why MESH does not answer. If the clock is right, `mesh-itk3 prune"
    " --dry-run` shows what would go by it, and `mesh-itk3 prune --by-clock` removes it.",
)
PAYLOADS_UNEXPLAINED = Event(
    "payloads.unexplained",
    "warning",
    "Payload files that no message of this ledger explains are kept.",
    "If the ledger is new or restored, they may be the only copies: `mesh-itk3 ledger adopt` takes them up. Or two share the"
    " directory. Look before removing any.",
)

# ------------------------------------------------------------------------------------------------ a mailbox
MAILBOX_HANDSHAKE = Event("mailbox.handshake", "info", "MESH answered the handshake.")
MAILBOX_POLLED = Event("mailbox.polled", "info", "One walk over the inbox has ended.")
MAILBOX_UNAVAILABLE = Event(
    "mailbox.unavailable",
    "warning",
    "MESH could not be reached. Said once; it is asked again at growing intervals, of a quarter of an hour at most.",
    "If it lasts an hour, look at the network and at the NHS service status.",
)
MAILBOX_RECOVERED = Event("mailbox.recovered", "info", "MESH answers again everything that it is asked.")
CREDENTIALS_REJECTED = Event(
    "credentials.rejected",
    "error",
    "MESH refuses this mailbox's credentials, or the certificate files cannot be used here (`reason`).",
    "Check password, shared key, certificate and the clock of this machine.",
)

# ------------------------------------------------------------------------------------------------ the stages
COLLECT_DONE = Event("collect.done", "info", "Collect has dealt with one message of the inbox.")
INTERPRET_DONE = Event("interpret.done", "info", "Interpret has judged one message.")
DISPATCH_DONE = Event("dispatch.done", "info", "A handler has dealt with one message.")
RESPOND_DONE = Event("respond.done", "info", "Respond has dealt with one response.")
CORRELATE_DONE = Event("correlate.done", "info", "A response or report was matched with what it answers.")
COLLECT_TRUNCATED = Event(
    "collect.truncated",
    "warning",
    "A download ended early; nothing was kept or acknowledged, the next poll tries again.",
    "If it lasts, look at proxies and firewalls on the way to MESH.",
)
COLLECT_FAILED = Event(
    "collect.failed",
    "error",
    "One message of the inbox could not be collected; it stays in MESH.",
    "See `error_type`; report it if it repeats.",
)
STAGE_FAILED = Event(
    "stage.failed",
    "error",
    "An attempt on one message failed inside this program or its handler; it is tried again.",
    "See `error_type` and `error_at`; nothing is lost.",
)
STAGE_BROKEN = Event(
    "stage.broken",
    "critical",
    "A stage could not run at all; it is tried again.",
    "See `error_type` and `error_at`; report it if it repeats.",
)
MESSAGE_PARKED = Event(
    "message.parked",
    "error",
    "A message was set aside; its bytes are kept and its sender may be waiting.",
    "`mesh-itk3 parked` says why and what to do.",
)
MESSAGE_HELD = Event(
    "message.held",
    "warning",
    "A person has stopped a message; nothing more happens to it, and its sender may be waiting.",
    "`mesh-itk3 release ID --by WHO` lets it go on, `mesh-itk3 abandon` ends it.",
)
MESSAGE_RELEASED = Event("message.released", "info", "A person lets a message go on that was held.")
MESSAGE_RETRIED = Event("message.retried", "info", "A person lets a parked message be tried again.")
MESSAGE_ABANDONED = Event(
    "message.abandoned",
    "warning",
    "A person has ended a parked message for good; its bytes are kept.",
    "Nothing, unless `sender.not_told` comes with it.",
)
MESSAGE_REJECTED = Event(
    "message.rejected",
    "warning",
    "A message was refused with a negative infrastructure response.",
    "Nothing, unless it repeats: then tell the sender.",
)
MESSAGE_UNANSWERABLE = Event(
    "message.unanswerable",
    "error",
    "A message should be answered but names no mailbox to answer to.",
    "Tell the sender another way; `mesh-itk3 trace ID` shows which message it was.",
)
DECISION_NEEDED = Event(
    "decision.needed",
    "warning",
    "A person has to decide the business response of a message.",
    "Read the letter, then `mesh-itk3 respond ID CODE --by WHO`.",
)
DECISION_MADE = Event("decision.made", "info", "A person has decided the business response of a message.")
DECISION_REMINDER = Event(
    "decision.reminder",
    "warning",
    "A decision that waits for a person is needed before its deadline.",
    "Read the letter, then `mesh-itk3 respond ID CODE --by WHO`; `mesh-itk3 owed` lists them all.",
)
DECISION_OVERDUE = Event(
    "decision.overdue",
    "error",
    "A decision that waits for a person is past its deadline; its sender may be waiting. Said again while it is.",
    "Decide now: `mesh-itk3 owed` lists them all, oldest first.",
)
DECISION_BY_DEADLINE = Event(
    "decision.by_deadline",
    "warning",
    "Nobody decided in time; the configuration decided the business response of a message.",
    "Look at the letter all the same: `mesh-itk3 trace ID`.",
)
DUPLICATE_DIFFERS = Event(
    "duplicate.differs",
    "warning",
    "A message was answered as a duplicate although its bytes differ from the first.",
    "Compare the two with `mesh-itk3 trace`; ask the sender which one is meant, then `mesh-itk3 seen ID --by WHO`.",
)
SENDER_NOT_TOLD = Event(
    "sender.not_told",
    "error",
    "A message was refused or abandoned and its sender has not been told: no answer was asked for, or none will come.",
    "Tell the sender another way, then `mesh-itk3 seen ID --by WHO`.",
)
MESSAGE_SEEN = Event("message.seen", "info", "A person has seen what stood in `status` about a message.")
RESPONSE_UNRESOLVED = Event(
    "response.unresolved", "warning", "Whether MESH took a response is not known; it is looked up before any resend."
)
RESPONSE_PARKED = Event(
    "response.parked",
    "error",
    "MESH refused a response for good; the sender has not been told.",
    "See `status_code`; mend the cause, then `mesh-itk3 retry ID --by WHO`. Else tell the sender another way, then `mesh-itk3"
    " seen ID --by WHO`.",
)
RESPONSE_RETRIED = Event("response.retried", "info", "A person lets a response be sent again that MESH refused.")
RESPONSE_UNDELIVERED = Event(
    "response.undelivered",
    "error",
    "MESH could not deliver a response; the sender has not been told.",
    "Tell the sender another way, then `mesh-itk3 seen ID --by WHO`.",
)
RESPONSE_OVERDUE = Event(
    "response.overdue",
    "error",
    "A response has been neither acknowledged by the other mailbox nor reported on by MESH within five days.",
    "Ask the sender whether they have it, then `mesh-itk3 seen ID --by WHO`. MESH is still asked daily.",
)
RESPONSE_REFUSED = Event(
    "response.refused",
    "error",
    "The other side refused a response of ours with a negative infrastructure response.",
    "See `response_code`; tell the sender another way, then `mesh-itk3 seen ID --by WHO`.",
)
ANSWER_UNREADABLE = Event(
    "answer.unreadable",
    "error",
    "What came on a response workflow is no readable response: a letter, or damaged. It is kept, and never answered.",
    "`mesh-itk3 trace ID` names the file: look at it, tell the sender another way, then `mesh-itk3 seen ID --by WHO`.",
)
ANSWER_UNMATCHED = Event(
    "answer.unmatched",
    "error",
    "A negative response came that names nothing we sent: something was refused, and it cannot be told what.",
    "See `response_code`; ask the sender what they refused, then `mesh-itk3 seen ID --by WHO`.",
)
REPORT_UNMATCHED = Event(
    "report.unmatched",
    "error",
    "MESH could not deliver something that this mailbox has sent, and nothing here knows what: no response of ours.",
    "If another system sends from this mailbox, tell it, and set `uncorrelated` to `leave`. If the ledger was restored or is"
    " new, a response from before is undelivered. `mesh-itk3 trace ID` names its ids; then `mesh-itk3 seen ID --by WHO`.",
)
FOREIGN_LEFT = Event("foreign.left", "debug", "A message on a workflow that is not ours was left in MESH unread.")
HANDLER_SAID = Event("handler.said", "info", "A line of a handler's own.")

# ------------------------------------------------------------------------------------------------ other people's code
LIBRARY_SAID = Event(
    "library.said",
    "warning",
    "A line of a library's own logger, at that line's severity; `text` is its constant part or left out.",
    "Nothing, unless it comes with another event.",
)
LIBRARY_WARNED = Event("library.warned", "warning", "A library gave a Python warning.", "Report it: see `error_at`.")
HANDLER_WARNED = Event("handler.warned", "warning", "A warning of a handler's own.", "See the handler's documentation.")

ALL: Final[tuple[Event, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Event))

_log = structlog.get_logger("mesh_itk3")


def emit(event: Event, /, **fields: Any) -> None:
    """Writes one log line. Fields outside FIELDS, and fields that are None, are left out. Never raises."""
    allowed = {name: value for name, value in fields.items() if value is not None and name in FIELDS}
    getattr(_log, event.severity)(event.name, text=event.text, **allowed)


def where(error: BaseException) -> Mapping[str, str]:
    """What may be said of an exception: its type and the line that raised it. Never its text, which may quote a message."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "unknown"
    return {"error_type": type(error).__name__, "error_at": at}
