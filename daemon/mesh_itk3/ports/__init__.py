"""What the program needs of the world, as Protocols and the values that cross them: a file for each that is needed together.
No I/O here. Everything is imported from this package itself.

Every time is an aware UTC `datetime`. Adapters translate each library's exceptions into the errors that stand here.
"""

from mesh_itk3.ports.arrivals import Arrivals, Received
from mesh_itk3.ports.clock import Clock
from mesh_itk3.ports.collectors import Collecting, HeldByAnother, Hold, LeaseLost
from mesh_itk3.ports.ledger import Ledger, LedgerConflict, LedgerDamaged, LedgerUnavailable, StageLedger, StepRefused
from mesh_itk3.ports.mailbox import (
    CertificateUnusable,
    CredentialsRejected,
    Download,
    LookUpUnsupported,
    Mailbox,
    MailboxUnavailable,
    MeshHeaders,
    MessageGone,
    Outgoing,
    SendRefused,
    SendUnresolved,
    Tracking,
    TruncatedDownload,
)
from mesh_itk3.ports.mailbox_state import MailboxState, MailboxStates
from mesh_itk3.ports.messages import Entry, Kind, MessageKey, MessageRecord
from mesh_itk3.ports.operators import MessageInProgress, OperatorActs
from mesh_itk3.ports.outbox import NewResponse, Outbox, ResponseChanges, ResponseRecord, ResponseStep
from mesh_itk3.ports.path import Changes, MessagePath, Step
from mesh_itk3.ports.patients import PatientRegister, RegisteredPatient, RegisterUnusable
from mesh_itk3.ports.payloads import (
    PayloadDraft,
    PayloadMissing,
    PayloadStore,
    PrunedPayload,
    Spool,
    StorageFailed,
    StoredPayload,
)
from mesh_itk3.ports.pruning import Expired, Prunable, Pruning
from mesh_itk3.ports.records import Overview, Records, Unseen
from mesh_itk3.ports.routes import Routed, Routes

__all__ = [
    "Arrivals",
    "CertificateUnusable",
    "Changes",
    "Clock",
    "Collecting",
    "CredentialsRejected",
    "Download",
    "Entry",
    "Expired",
    "HeldByAnother",
    "Hold",
    "Kind",
    "LeaseLost",
    "Ledger",
    "LedgerConflict",
    "LedgerDamaged",
    "LedgerUnavailable",
    "LookUpUnsupported",
    "Mailbox",
    "MailboxState",
    "MailboxStates",
    "MailboxUnavailable",
    "MeshHeaders",
    "MessageGone",
    "MessageInProgress",
    "MessageKey",
    "MessagePath",
    "MessageRecord",
    "NewResponse",
    "OperatorActs",
    "Outbox",
    "Outgoing",
    "Overview",
    "PatientRegister",
    "PayloadDraft",
    "PayloadMissing",
    "PayloadStore",
    "Prunable",
    "PrunedPayload",
    "Pruning",
    "Received",
    "Records",
    "RegisterUnusable",
    "RegisteredPatient",
    "ResponseChanges",
    "ResponseRecord",
    "ResponseStep",
    "Routed",
    "Routes",
    "SendRefused",
    "SendUnresolved",
    "Spool",
    "StageLedger",
    "Step",
    "StepRefused",
    "StorageFailed",
    "StoredPayload",
    "Tracking",
    "TruncatedDownload",
    "Unseen",
]
