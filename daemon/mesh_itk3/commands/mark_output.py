"""`mesh-itk3 mark-output`: a person says that a directory for letters is the right one, made anew as it is."""

from __future__ import annotations

from pathlib import Path

from mesh_itk3 import events
from mesh_itk3.adapters.output_marks import OutputMarks, Place
from mesh_itk3.adapters.owner import act_as_owner
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, shown
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import become_owner, read_settings
from mesh_itk3.registry import registry_of


def mark_output(config: Path, credentials: Path | None, output: Path, *, by: str, as_json: bool) -> int:
    """Durable on return; the daemon files there at its next try. Raises StorageFailed."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    outputs = registry_of(settings).outputs
    # As the service: what root makes here the daemon could not use.
    become_owner(settings)
    act_as_owner(settings.payloads.directory)
    marks = OutputMarks(settings.payloads.directory)
    before = marks.look(output)
    if output not in outputs and before is Place.NEW:
        known = ", ".join(map(str, outputs)) or "none"
        raise CommandRefused(f"no handler is configured to file letters in {output}; configured: {known}")
    if not output.is_dir():
        raise CommandRefused(f"{output} is no directory: mount its share, or make it")
    if before is not Place.KNOWN:
        marks.mark(output, who=who)
        events.emit(events.OUTPUT_MARKED, directory=str(output), actor=who)
    if as_json:
        print_json({"directory": str(output), "was": before.name.lower(), "is_changed": before is not Place.KNOWN})
    elif before is Place.KNOWN:
        say(shown(f"{output} has its mark: nothing was changed"))
    else:
        say(shown(f"{output}: marked by {who}; letters are filed there from now on"))
    return Exit.DONE
