"""What an operator does about what is parked, by the reason. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mesh_itk3.reasons import Reason

_RETRY = "mesh-itk3 retry {id} --by WHO"
_ABANDON = "mesh-itk3 abandon {id} --by WHO --reason WHY"
_MESSAGE: Final[Mapping[str | None, str]] = {
    Reason.HELD_BY_PERSON: f"mesh-itk3 release {{id}} --by WHO lets it go on; {_ABANDON} ends it.",
    Reason.HANDLER_FAILED: f"Mend the handler: stage.failed in the log says where it fails. Then {_RETRY}",
    Reason.HANDLER_IGNORED_DECISION: f"Mend the handler, then {_RETRY}",
    Reason.HANDLER_ASKED: f"See what the handler waits for, then {_RETRY}",
    Reason.STAGE_FAILED: f"Report stage.failed of the log. After an upgrade, or a repair of what it names, {_RETRY}",
    Reason.PROCESS_DIED: f"Look at its bytes with care: mesh-itk3 trace {{id}} names them. When the cause is mended, {_RETRY}",
    Reason.PAYLOAD_MISSING: (
        f"Bring its file back (mesh-itk3 trace {{id}} names it), then {_RETRY}. If it is lost, ask the sender for it under new"
        f" ids, then {_ABANDON}"
    ),
}
_OTHER_MESSAGE: Final = (
    f"See mesh-itk3 trace {{id}}; when the cause is mended, {_RETRY}. If you deal with it by hand, {_ABANDON}"
)
_RESPONSE: Final[Mapping[str | None, str]] = {
    Reason.INFRASTRUCTURE_REFUSED: "Nothing by itself: it comes back with the infrastructure response to the same message.",
}
_OTHER_RESPONSE: Final = (
    f"See MESH's code; when the cause is mended, {_RETRY}. Else tell the sender another way, then mesh-itk3 seen {{id}} --by"
    " WHO"
)
_ABANDONED_RESPONSE: Final = (
    "Its message is abandoned, so it is not sent again. Tell the sender another way, then mesh-itk3 seen {id} --by WHO"
)


def about_message(reason: str | None, mesh_message_id: str) -> str:
    """About a parked message."""
    return _MESSAGE.get(reason, _OTHER_MESSAGE).format(id=mesh_message_id)


def about_response(reason: str | None, mesh_message_id: str, *, is_abandoned: bool = False) -> str:
    """About a parked response to this message."""
    if is_abandoned:
        return _ABANDONED_RESPONSE.format(id=mesh_message_id)
    return _RESPONSE.get(reason, _OTHER_RESPONSE).format(id=mesh_message_id)
