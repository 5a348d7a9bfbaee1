"""Which responses a message is owed. PURE.

Sources: ITK3 Distribution 2.10.0, explore_response_structure (flags) and explore_response_examples under 10009 (a flag
that cannot be determined counts as asked). For messages that are themselves responses other rules hold: see correlate.
"""

from __future__ import annotations

from mesh_itk3.itk3.verdict import Verdict


def is_infrastructure_response_owed(verdict: Verdict, inf_ack: bool | None) -> bool:  # noqa: FBT001 - three-valued: None is a flag that could not be read
    """Positive and negative alike go out only where they were asked for; a flag that is absent or unreadable asks.

    `verdict` decides which code goes out, not whether: a readable false is obeyed for a negative too.
    """
    del verdict
    return inf_ack is not False


def is_business_response_owed(bus_ack: bool | None) -> bool:  # noqa: FBT001 - three-valued, as above
    """After a positive verdict only: a negative infrastructure response is the last one, whatever the flags say."""
    return bus_ack is not False
