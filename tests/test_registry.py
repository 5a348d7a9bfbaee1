"""Handlers found through entry points of really installed distributions: what is ours, who takes it, who conflicts."""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions
from itertools import count
from pathlib import Path

import pytest

from mesh_itk3.registry import Registry, load_handlers
from mesh_itk3.settings_errors import ConfigInvalid, HandlerConflict
from mesh_itk3.workflow_table import shipped

STATE = Path("/var/lib/mesh-itk3")
IP, MH = "TOC_FHIR_IP_DISCH", "TOC_FHIR_MH_DISCH"
_numbers = count()

SOURCE = """
from mesh_itk3.handler import Declaration, Handler, HandlerSettings, Respond, BusinessCode
{before}
class Theirs(Handler):
    declaration = Declaration(name={name!r}, workflows={workflows!r}{more})
    class Settings(HandlerSettings):
        {settings}
    def __init__(self, settings):
        super().__init__(settings)
        {init}
    def handle(self, message, context):
        return Respond(BusinessCode.PATIENT_KNOWN)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution with one handler, as a wheel would stand on disk; returns its entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(
        name="theirs",
        distribution="their-handler",
        workflows=None,
        more="",
        before="",
        settings="pass",
        init="pass",
        source=SOURCE,
    ) -> EntryPoint:
        module = f"handler_{next(_numbers)}"
        taken = {IP: f"{IP}_ACK"} if workflows is None else workflows
        (tmp_path / f"{module}.py").write_text(
            source.format(name=name, workflows=taken, more=more, before=before, settings=settings, init=init)
        )
        info = tmp_path / module / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[mesh_itk3.handlers]\n{name} = {module}:Theirs\n")
        (found,) = distributions(path=[str(tmp_path / module)])
        (point,) = found.entry_points
        return point

    return install


def load(*points: EntryPoint, tables=None, **more) -> Registry:
    return load_handlers(tables or {}, shipped(), STATE, points, **more)


# --------------------------------------------------------------------------------------------------- ours and foreign


def test_installed_handler_takes_its_workflow(install):
    registry = load(install())

    routed = registry.route(IP, "ITK003D", None)
    assert routed is not None
    assert (routed.name, routed.distribution, routed.version) == ("theirs", "their-handler", "1.2")
    assert registry.by_name("theirs") is routed
    assert registry.is_ours(IP)
    assert registry.unavailable(IP) is None
    assert registry.response_workflow(IP) == f"{IP}_ACK"


def test_response_workflow_of_a_handler_is_ours_and_standing_in_the_table_is_not_enough(install):
    registry = load(install())

    assert registry.is_ours(f"{IP}_ACK")
    assert registry.unavailable(f"{IP}_ACK") is None
    assert not registry.is_ours(MH)
    assert not registry.is_ours(f"{MH}_ACK")
    assert registry.is_response_workflow(f"{MH}_ACK")
    assert not registry.is_response_workflow(IP)


def test_workflow_outside_the_table_is_answered_where_its_handler_says(install):
    registry = load(install(workflows={"OURS_1": "OURS_1_REPLY", "OURS_2": None}))

    assert registry.response_workflow("OURS_1") == "OURS_1_REPLY"
    assert registry.is_response_workflow("OURS_1_REPLY")
    assert registry.is_ours("OURS_1_REPLY")
    assert registry.response_workflow("OURS_2") is None


def test_without_handlers_nothing_is_ours():
    registry = load()

    assert not registry.is_ours(IP)
    assert registry.all == ()


def test_shipped_handlers_are_found_like_anyones():
    registry = load_handlers({}, shipped(), STATE)

    assert {"transfer_of_care", "discharge_letters"} <= {found.name for found in registry.all}


# --------------------------------------------------------------------------------------------------- disabled and broken


def test_workflow_of_a_disabled_handler_stays_ours_and_is_not_available(install):
    registry = load(install(), tables={"theirs": {"enabled": "false"}})

    assert registry.is_ours(IP)
    assert registry.unavailable(IP) == "theirs (their-handler 1.2) is disabled"
    assert registry.by_name("theirs") is None
    assert registry.route(IP, "ITK003D", None) is None


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"init": "raise OSError('password is hunter2')"}, "cannot be started: OSError"),
        ({"init": "raise SystemExit(3)"}, "cannot be started: SystemExit"),
        ({"settings": "token: str"}, "is not configured: [handlers.theirs] needs token"),
    ],
)
def test_workflow_of_a_handler_that_cannot_start_stays_ours_and_is_not_available(install, broken, said):
    registry = load(install(**broken))

    assert registry.is_ours(IP)
    assert said in registry.unavailable(IP)
    assert "hunter2" not in registry.unavailable(IP)
    assert not registry.is_ours(MH)


def test_handler_declared_under_another_name_than_its_entry_point_does_not_work(install):
    registry = load(install(name="theirs", source=SOURCE.replace("{name!r}", "'other'")))

    assert registry.is_ours(IP)
    assert "another name" in registry.unavailable(IP)


@pytest.mark.parametrize(
    "unimportable",
    [
        {"before": "import no_such_module_anywhere"},
        {"before": "raise SystemExit"},
        {"before": "syntax error here"},
        {"source": "Theirs = 3"},
        {"source": "class Theirs: pass"},
        {"more": ", event_codes='ITK003D'"},
        {"more": ", reasons={'a_word'}"},
        {"more": ", message_definitions='https://example.org/MessageDefinition/a'"},
        {"more": ", message_definitions=frozenset({3})"},
        {"source": SOURCE.replace("{workflows!r}", "['W']")},
    ],
)
def test_while_a_handler_cannot_be_read_no_workflow_is_foreign(install, unimportable):
    registry = load(install(**unimportable), install(name="fine", distribution="fine", workflows={MH: f"{MH}_ACK"}))

    assert registry.is_ours("WHOSE_IS_THIS")
    assert "theirs (their-handler 1.2) cannot be imported" in registry.unavailable("WHOSE_IS_THIS")
    assert registry.unavailable(MH) is None
    assert registry.unavailable(f"{MH}_ACK") is None


def test_missing_module_is_named_but_no_text_of_the_error(install):
    registry = load(install(before="import no_such_module_anywhere"))

    assert "ModuleNotFoundError no_such_module_anywhere at handler_" in registry.unavailable(IP)


def test_broken_handler_holds_a_workflow_that_it_shares(install):
    registry = load(
        install(more=", event_codes=frozenset({'ITK003D'})", init="raise ValueError"),
        install(name="other", distribution="other", more=", event_codes=frozenset({'ITK004D'})"),
    )

    assert "cannot be started" in registry.unavailable(IP)


def test_another_handler_may_replace_one_that_is_disabled(install):
    registry = load(install(), install(name="better", distribution="better"), tables={"theirs": {"enabled": False}})

    assert registry.unavailable(IP) is None
    assert registry.route(IP, "ITK003D", None).name == "better"


# --------------------------------------------------------------------------------------------------- routing


def test_message_goes_by_workflow_then_event_then_composition_type(install):
    registry = load(
        install("a", "dist-a", more=", event_codes=frozenset({'ITK003D'}), composition_types=frozenset({'1'})"),
        install("b", "dist-b", more=", event_codes=frozenset({'ITK003D'}), composition_types=frozenset({'2'})"),
        install("c", "dist-c", more=", event_codes=frozenset({'ITK004D'}), needs_document=False"),
        install("d", "dist-d", workflows={MH: f"{MH}_ACK"}),
    )

    def name(*message):
        routed = registry.route(*message)
        return routed and routed.name

    assert name(IP, "ITK003D", "1") == "a"
    assert name(IP, "ITK003D", "2") == "b"
    assert name(IP, "ITK003D", "3") is None
    assert name(IP, "ITK003D", None) is None
    assert name(IP, "ITK004D", None) == "c"
    assert name(MH, None, None) == "d"
    assert name("OTHER", "ITK003D", "1") is None
    assert registry.event_codes(IP) == {"ITK003D", "ITK004D"}
    assert registry.event_codes(MH) == frozenset()
    assert not registry.needs_document(IP)
    assert registry.needs_document(MH)


# --------------------------------------------------------------------------------------------------- conflicts


def conflict(*points, **more) -> str:
    with pytest.raises(HandlerConflict) as caught:
        load(*points, **more)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_two_handlers_for_one_message_are_refused_naming_both_distributions(install):
    said = conflict(install("a", "dist-a"), install("b", "dist-b"))

    assert "a of dist-a 1.2 and b of dist-b 1.2" in said
    assert IP in said
    assert "\n" not in said


@pytest.mark.parametrize("more", ["event_codes=frozenset({'ITK003D'})", "composition_types=frozenset({'1'})"])
def test_handler_for_any_overlaps_with_one_for_some(install, more):
    conflict(install("a", "dist-a"), install("b", "dist-b", more=f", {more}"))


def test_same_name_in_two_distributions_is_refused_even_when_disabled(install):
    points = install("a", "dist-a"), install("a", "dist-b", workflows={MH: f"{MH}_ACK"})

    assert "have the same name" in conflict(*points, tables={"a": {"enabled": False}})


def test_same_entry_point_met_twice_is_one_handler(install):
    point = install()

    assert len(load(point, point).all) == 1


@pytest.mark.parametrize(
    ("workflows", "said"),
    [
        ({IP: None}, f"names none as the response workflow of {IP}; the workflow table has {IP}_ACK"),
        ({IP: "OTHER_ACK"}, f"names OTHER_ACK as the response workflow of {IP}"),
        ({f"{IP}_ACK": None}, f"takes {IP}_ACK, which carries responses"),
        ({"LOOP": "LOOP"}, "takes LOOP, which carries responses"),
    ],
)
def test_declaration_that_contradicts_the_workflow_table_is_refused(install, workflows, said):
    assert said in conflict(install(workflows=workflows))


def test_two_handlers_that_contradict_one_another_are_refused(install):
    more = ", event_codes=frozenset({'B'})"
    a = install("a", "dist-a", workflows={"W": "W_ACK"}, more=", event_codes=frozenset({'A'})")

    assert "different response workflows of W" in conflict(a, install("b", "dist-b", workflows={"W": "W_RE"}, more=more))
    assert "responses for the other" in conflict(a, install("c", "dist-c", workflows={"W_ACK": None}, more=more))


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ({"Seen by": "Somebody has seen it."}, "declares the reason 'Seen by', which is not written [a-z0-9_]{1,64}"),
        ({"": "Nothing."}, "declares the reason ''"),
        ({"w" * 65: "Too long."}, "declares the reason 'www"),
        ({"a\nb": "Two lines."}, "declares the reason 'a\\nb'"),
        ({3: "A number."}, "declares the reason '3'"),
        ({"handler_failed": "Ours."}, "which is a reason of this program itself"),
        ({"seen": " "}, "declares the reason seen without a sentence"),
        ({"seen": None}, "declares the reason seen without a sentence"),
    ],
)
def test_reason_that_cannot_stand_in_a_ledger_is_refused_naming_the_distribution(install, reasons, said):
    text = conflict(install(more=f", reasons={reasons!r}"))

    assert "handler theirs of their-handler 1.2" in text
    assert said in text
    assert "\n" not in text


def test_handler_with_an_unusable_reason_can_be_disabled(install):
    load(install(more=", reasons={'No': 'x'}"), tables={"theirs": {"enabled": False}})


# ------------------------------------------------------------------------------------------------ their vocabulary


@pytest.mark.parametrize("state", [{}, {"theirs": {"enabled": False}}], ids=["working", "disabled"])
def test_reason_of_a_handler_is_explained_in_its_own_words_whether_or_not_it_works_now(install, state):
    registry = load(install(more=", reasons={'two_of_a_name': 'Two patients have this name.'}"), tables=state)

    assert registry.reason_text("theirs", "two_of_a_name") == "Two patients have this name."
    assert registry.reason_text("theirs", "another") is None
    assert registry.reason_text("others", "two_of_a_name") is None
    assert registry.reason_text(None, "two_of_a_name") is None
    assert registry.reason_text("theirs", None) is None


def test_definitions_of_a_workflow_are_those_of_its_enabled_handlers(install):
    a, b = "https://example.org/MessageDefinition/a", "https://example.org/MessageDefinition/b"
    registry = load(
        install("a", "dist-a", more=f", event_codes=frozenset({{'A'}}), message_definitions=frozenset({{{a!r}}})"),
        install("b", "dist-b", more=f", event_codes=frozenset({{'B'}}), message_definitions=frozenset({{{b!r}}})"),
        install("c", "dist-c", more=", event_codes=frozenset({'C'}), message_definitions=frozenset({'c'})"),
        install("d", "dist-d", workflows={MH: f"{MH}_ACK"}),
        tables={"c": {"enabled": False}},
    )

    assert registry.message_definitions(IP) == {a, b}
    assert registry.message_definitions(MH) == frozenset()


# --------------------------------------------------------------------------------------------------- their settings


def refused(*points, **more) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load(*points, **more)
    return str(caught.value)


def test_handler_gets_its_own_settings(install):
    registry = load(install(settings="token: str"), tables={"theirs": {"token": "abc"}})

    assert registry.by_name("theirs").handler.settings.token == "abc"


def test_output_that_is_not_given_is_below_the_state_directory(install):
    registry = load(install(settings="output: str"))

    assert registry.by_name("theirs").handler.settings.output == "/var/lib/mesh-itk3/letters"


ANY_PLACE = "import pathlib"


def placed(said):
    """Settings with two directories of names of their own, and what they say of them."""
    return f"""letters: pathlib.Path = pathlib.Path("/srv/letters")
        scans: pathlib.Path = pathlib.Path("/srv/scans")
        @property
        def letter_directories(self):
            return {said}"""


def test_the_directories_for_letters_are_those_that_a_handlers_settings_name_whatever_their_keys(install):
    theirs = install(before=ANY_PLACE, settings=placed("(self.letters, self.scans)"))
    another = install(name="another", distribution="another", workflows={MH: f"{MH}_ACK"}, settings="output: str")

    registry = load(theirs, another, tables={"theirs": {"scans": "/var/lib/mesh-itk3/letters"}})

    assert registry.outputs == {STATE / "letters": ("another", "theirs"), Path("/srv/letters"): ("theirs",)}


def test_a_handler_that_names_no_directory_has_none(install):
    assert load(install()).outputs == {}


def test_a_handler_that_calls_something_else_output_works_and_names_no_directory(install):
    registry = load(install(settings="output: int"), tables={"theirs": {"output": 5}})

    assert registry.unavailable(IP) is None
    assert registry.outputs == {}


@pytest.mark.parametrize("said", ["1 / 0", "None", "(1,)", "'/srv/letters'"])
def test_a_handler_that_cannot_say_where_it_files_does_not_work_and_stops_nobody(install, said):
    another = install(name="another", distribution="another", workflows={MH: f"{MH}_ACK"}, settings="output: str")

    registry = load(install(before=ANY_PLACE, settings=placed(said)), another)

    assert "cannot be started" in registry.unavailable(IP)
    assert registry.outputs == {STATE / "letters": ("another",)}


def test_wrong_table_of_a_handler_is_one_line_without_its_value(install):
    tables = {"theirs": {"number": "hunter2", "tokken": "hunter2"}}

    said = refused(install(settings="number: int = 1; token: str = ''"), tables=tables)

    assert said.splitlines() == [
        "configuration: [handlers.theirs] number: must be a whole number",
        "configuration: [handlers.theirs] tokken: no such key; did you mean token?",
    ]


def test_key_that_may_be_a_secret_is_no_mistake_for_whoever_may_not_read_it_and_the_handler_is_still_known(install):
    point, tables = install(settings="token: str"), {"theirs": {"enabled": True}}
    assert "token: is required" in refused(point, tables=tables)

    registry = load(point, tables=tables, needs_secrets=False)

    assert registry.by_name("theirs") is None
    assert "may not read: [handlers.theirs] needs token" in registry.all[0].problem
    assert registry.declaration("theirs").name == "theirs"
    assert registry.declaration("another") is None
    assert registry.declaration(None) is None


def test_wrong_key_is_a_mistake_also_for_whoever_may_not_read_secrets(install):
    tables = {"theirs": {"nummber": 1}}

    assert "nummber: no such key" in refused(install(settings="token: str"), tables=tables, needs_secrets=False)


def test_table_for_a_handler_that_is_not_installed_is_refused(install):
    said = refused(install(), tables={"thiers": {}})

    assert said == "configuration: [handlers.thiers]: no such handler installed; did you mean theirs?"


def test_enabled_must_be_a_yes_or_no(install):
    assert "enabled: must be true or false" in refused(install(), tables={"theirs": {"enabled": "perhaps"}})


def test_override_for_a_workflow_that_does_not_exist_is_refused(install):
    load(install(workflows={"OURS_1": None}), overridden=["OURS_1", MH])

    said = refused(install(), overridden=["TOC_FHIR_IP_DISH"])

    assert said == "configuration: [workflows.TOC_FHIR_IP_DISH]: no such workflow; did you mean TOC_FHIR_IP_DISCH?"
