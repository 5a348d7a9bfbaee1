"""Which responses a message is owed. PURE.

Sources: ITK3 Distribution 2.10.0, explore_response_structure (flags), explore_response_patterns_4 (what is false or absent
asks for nothing) and explore_response_examples under 10009 (what cannot be determined counts as asked). For messages that
are themselves responses other rules hold: see correlate.
"""

from __future__ import annotations

from mesh_itk3.itk3.handling_specification import HandlingSpecification, Key
from mesh_itk3.itk3.verdict import Verdict


def infrastructure_flag(verdict: Verdict, handling: HandlingSpecification) -> bool | None:
    """InfAckRequested as it counts; None: it cannot be determined, and counts as asked.

    Absent, it asks for nothing of a message that is taken all the same (`lenient`). Of one that is refused nobody can say
    what its sender wanted, and silence harms more.
    """
    return _as_it_counts(verdict, handling, handling.inf_ack_requested, handling.inf_ack)


def business_flag(verdict: Verdict, handling: HandlingSpecification) -> bool | None:
    """The same for BusAckRequested."""
    return _as_it_counts(verdict, handling, handling.bus_ack_requested, handling.bus_ack)


def _as_it_counts(  # the value is three-valued: None is a flag that is absent or unreadable
    verdict: Verdict,
    handling: HandlingSpecification,
    key: Key,
    value: bool | None,  # noqa: FBT001
) -> bool | None:
    # It may stand in the second of two handling extensions, which is not read.
    is_absent = not key.present and not handling.repeated
    return False if is_absent and verdict.is_positive else value


def is_infrastructure_response_owed(verdict: Verdict, inf_ack: bool | None) -> bool:  # noqa: FBT001 - three-valued: None is a flag that could not be read
    """Positive and negative alike go out only where they were asked for; see `infrastructure_flag`.

    `verdict` decides which code goes out, not whether: a readable false is obeyed for a negative too.
    """
    del verdict
    return inf_ack is not False


def is_business_response_owed(bus_ack: bool | None) -> bool:  # noqa: FBT001 - three-valued, as above
    """After a positive verdict only: a negative infrastructure response is the last one, whatever the flags say."""
    return bus_ack is not False
