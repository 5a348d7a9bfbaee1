"""What can be chosen about a simulated message, and each kind's usual values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mesh_itk3.simulator.fhir import Ids
from mesh_itk3.simulator.patients import EDITH, SimulatedPatient

PRACTICE_ODS: Final = "A81001"
HOSPITAL_ODS: Final = "X26"
HOSPITAL_MAILBOX: Final = "X26ABC1"

DEFINITIONS: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/"

Bulk = Literal["text", "resources", "attachment"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message: the event, and what its payload guide prescribes for it."""

    event_code: str
    event_display: str
    definition: str
    workflow_id: str
    title: str
    composition_profile: str
    composition_type: tuple[str, str]
    care_setting: tuple[str, str]
    local_extension: str = "None"
    names_receiver: bool = True
    """GP Connect Send Document is routed by demographics and must not name one."""


_NHS: Final = "https://fhir.nhs.uk/STU3/StructureDefinition/CareConnect-ITK-"
_DISCHARGE: Final = ("373942005", "Discharge summary")
_PHARMACY: Final = ("310080006", "Pharmacy service")

KINDS: Final[dict[str, Kind]] = {
    kind.event_code: kind
    for kind in (
        Kind("ITK003D", "ITK eDischarge", "ITK-eDischarge-MessageDefinition-4", "TOC_FHIR_IP_DISCH",
             "General medicine discharge summary", _NHS + "EDIS-Composition-1", _DISCHARGE,
             ("700232004", "General medical service")),
        Kind("ITK004D", "ITK Mental Health eDischarge", "ITK-MH-eDischarge-MessageDefinition-4", "TOC_FHIR_MH_DISCH",
             "Adult mental health discharge summary", _NHS + "MH-Composition-1", _DISCHARGE,
             ("892811000000109", "Adult mental health service")),
        Kind("ITK005D", "ITK Emergency Care eDischarge", "ITK-EC-eDischarge-MessageDefinition-4", "TOC_FHIR_EC_DISCH",
             "Emergency care discharge summary", _NHS + "ECD-Composition-1", _DISCHARGE,
             ("394576009", "Accident & emergency")),
        Kind("ITK006D", "ITK Outpatient Letter", "ITK-OPL-MessageDefinition-4", "TOC_FHIR_OP_ATTEN",
             "Cardiology outpatient letter", _NHS + "OPL-Composition-1", ("823681000000100", "Outpatient letter"),
             ("893061000000109", "Cardiology service")),
        Kind("ITK007C", "ITK GP Connect Send Document", "ITK-GPConnectSendDocument-MessageDefinition-1",
             "GPFED_CONSULT_REPORT", "Consultation report",
             "https://fhir.hl7.org.uk/STU3/StructureDefinition/CareConnect-Composition-1",
             ("371531000", "Report of clinical encounter"), ("788007007", "General practice service"),
             "SendDocument-ConsultationReport", names_receiver=False),
        Kind("ITK009D", "ITK Digital Medicine Immunization Document", "ITK-DM-Immunization-MessageDefinition-1",
             "DIGMED_FLU_VAC", "Vaccination record", _NHS + "DM-Immunization-Composition-1",
             ("41000179103", "Immunisation record"), _PHARMACY),
        Kind("ITK010D", "ITK Digital Medicine Emergency Supply Document", "ITK-DM-EmergencySupply-MessageDefinition-1",
             "DIGMED_EMG_MED", "Emergency medication supply record", _NHS + "DM-EmergencySupply-Composition-1",
             ("1218611000000102", "Urgent supply of prescription items by community pharmacy"), _PHARMACY),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Everything that shapes one message: equal choices give equal bytes."""

    kind: str
    seed: str = "0"
    """Two messages with different seeds share no identifier."""
    form: Literal["xml", "json"] = "xml"
    patient: SimulatedPatient = EDITH
    written_at: datetime = datetime(2025, 3, 11, 9, 40, tzinfo=UTC)

    # Identifiers: None draws them from kind and seed.
    header_id: str | None = None
    bundle_id: str | None = None
    bundle_identifier: str | None = None
    document_bundle_id: str | None = None
    document_identifier: str | None = None
    composition_identifier: str | None = None
    replaces: str | None = None
    """The Composition.identifier of the document that this one replaces."""

    handling: bool = True
    """False leaves the whole handling extension out."""
    business_requested: bool | str | None = True
    """None leaves the key out; a string is written as it is ("junk")."""
    infrastructure_requested: bool | str | None = True
    recipient_type: str | None = "FA"
    definition: str | None
    """A whole URL, or None to leave the key out."""
    sender_reference: str | None = "None"
    local_extension: str | None
    priority: str | None = None
    """The key that was removed in 2.5.0 and still occurs."""

    event: str | None
    """MessageHeader.event.code; None leaves the event out."""
    receiver_ods: str | None
    """None names no receiver."""
    sender_ods: str = HOSPITAL_ODS
    source_endpoint: str = HOSPITAL_MAILBOX
    practice_ods: str = PRACTICE_ODS
    """The GP practice inside the document; V81999 stands for "not known"."""
    verification_status: str = "01"
    coded: bool = True
    """False leaves the coded lists out and keeps their text."""
    optional_sections: bool = True
    """Transfer of Care only: False keeps the mandatory sections, for a short letter."""

    size: int | None = None
    """Exactly this many bytes. Raises ValueError where the message is already larger."""
    bulk: Bulk = "text"
    """What fills a message up to `size`."""

    @property
    def ids(self) -> Ids:
        return Ids(f"{self.kind}/{self.seed}")

    @property
    def message_header_id(self) -> str:
        return self.header_id if self.header_id is not None else self.ids("header")


def choose(kind: str, **changes: Any) -> Choices:
    """The kind's usual choices with these changed. Raises KeyError for an unknown kind, TypeError for an unknown choice."""
    usual = KINDS[kind]
    defaults: dict[str, Any] = {
        "kind": kind,
        "definition": DEFINITIONS + usual.definition,
        "local_extension": usual.local_extension,
        "event": usual.event_code,
        "receiver_ods": PRACTICE_ODS if usual.names_receiver else None,
    }
    return Choices(**(defaults | changes))
