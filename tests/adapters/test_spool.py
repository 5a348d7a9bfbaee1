"""A foreign message is laid down as the pair of files that the NHS MESH client writes, the control file last."""

import pytest
from lxml import etree

from mesh_itk3.adapters.spool import DirectorySpool, spool_name
from mesh_itk3.ports import MeshHeaders, StorageFailed, TruncatedDownload
from support.fake_mailbox import a_mesh_message, a_report


def filled(data):
    return lambda file: file.write(data)


def control(path):
    root = etree.fromstring(path.read_bytes())
    assert root.tag == "DTSControl"
    return {element.tag: element.text or "" for element in root.iter() if len(element) == 0}


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_message_becomes_data_and_control_file_named_by_its_mesh_id(tmp_path):
    message = a_mesh_message(
        mesh_message_id="20260101000000000_ABCDEF", workflow_id="PATHOLOGY", local_id="L-1", filename="../../x.exe"
    )

    DirectorySpool(tmp_path / "in").spool(message.headers, filled(b"data"))

    assert names(tmp_path / "in") == ["20260101000000000_ABCDEF.ctl", "20260101000000000_ABCDEF.dat"]
    assert (tmp_path / "in" / "20260101000000000_ABCDEF.dat").read_bytes() == b"data"


def test_the_control_file_says_what_mesh_said(tmp_path):
    said = {
        "subject": "s",
        "partnerid": "P",
        "content-checksum": "ab:cd",
        "content-compressed": "Y",
        "statustimestamp": "20260101000000",
    }
    message = a_mesh_message(mesh_message_id="ID1", workflow_id="PATHOLOGY", local_id="L-1", **said)

    DirectorySpool(tmp_path).spool(message.headers, filled(b"data"))

    assert control(tmp_path / "ID1.ctl") == {
        "Version": "1.0",
        "AddressType": "ALL",
        "MessageType": "Data",
        "From_ESMTP": "",
        "From_DTS": "X26ABC1",
        "To_ESMTP": "",
        "To_DTS": "X26ABC2",
        "Subject": "s",
        "LocalId": "L-1",
        "DTSId": "ID1",
        "PartnerId": "P",
        "WorkflowId": "PATHOLOGY",
        "ProcessId": "",
        "Compress": "N",
        "Encrypted": "N",
        "DataChecksum": "ab:cd",
        "IsCompressed": "Y",
        "DateTime": "20260101000000",
        "Event": "TRANSFER",
        "Status": "SUCCESS",
        "StatusCode": "00",
        "Description": "",
    }


@pytest.mark.parametrize("hostile", ["</Subject><DTSId>x", "<!DOCTYPE x>&y;", "a\x00b\x0bc\ufffe\ud800", "Zoë \U0001f600 ]]>"])
def test_hostile_header_values_stay_values(tmp_path, hostile):
    DirectorySpool(tmp_path).spool(a_mesh_message(mesh_message_id="ID1", subject=hostile).headers, filled(b""))

    read = control(tmp_path / "ID1.ctl")
    assert read["DTSId"] == "ID1"
    assert read["Subject"] == "".join("?" if c in "\x00\x0b\ufffe\ud800" else c for c in hostile)
    assert (tmp_path / "ID1.ctl").read_bytes().isascii()


def test_a_report_is_a_control_file_alone(tmp_path):
    DirectorySpool(tmp_path).spool(a_report(mesh_message_id="R1", local_id="L-9").headers, filled(b""))

    assert names(tmp_path) == ["R1.ctl"]
    read = control(tmp_path / "R1.ctl")
    assert (read["MessageType"], read["LocalId"], read["StatusCode"], read["Status"]) == ("Report", "L-9", "14", "ERROR")


def test_a_download_that_fails_leaves_nothing(tmp_path):
    def cut(file):
        file.write(b"half")
        raise TruncatedDownload("connection")

    with pytest.raises(TruncatedDownload):
        DirectorySpool(tmp_path).spool(a_mesh_message().headers, cut)

    assert names(tmp_path) == []


def test_the_control_file_appears_only_when_the_data_is_whole(tmp_path):
    seen = []

    DirectorySpool(tmp_path).spool(a_mesh_message(mesh_message_id="ID1").headers, lambda _: seen.extend(tmp_path.glob("*.ctl")))

    assert seen == []
    assert names(tmp_path) == ["ID1.ctl", "ID1.dat"]


def test_a_crash_between_the_two_files_is_repaired_by_the_next_delivery(tmp_path):
    (tmp_path / "ID1.dat").write_bytes(b"from before the crash")

    DirectorySpool(tmp_path).spool(a_mesh_message(mesh_message_id="ID1").headers, filled(b"data"))

    assert (tmp_path / "ID1.dat").read_bytes() == b"data"


def test_a_whole_pair_is_not_written_again(tmp_path):
    spool, message = DirectorySpool(tmp_path), a_mesh_message(mesh_message_id="ID1")
    spool.spool(message.headers, filled(b"first"))

    spool.spool(message.headers, filled(b"second"))

    assert (tmp_path / "ID1.dat").read_bytes() == b"first"


@pytest.mark.parametrize("hostile", ["..", ".", "", "a/b", "/etc/passwd", "a\x00b", ".hidden", "x" * 129, "é", "C:\\x", "a\n"])
def test_an_id_that_is_no_safe_name_becomes_a_digest(hostile):
    assert spool_name(hostile).startswith("mesh-")
    assert "/" not in spool_name(hostile)
    assert spool_name(hostile) != spool_name(hostile + "x")


def test_a_spool_that_cannot_even_be_looked_at_has_refused(tmp_path):
    spool = DirectorySpool(tmp_path / ("x" * 300))  # a name that no file system takes: `exists` raises OSError

    with pytest.raises(StorageFailed):
        spool.spool(a_mesh_message(mesh_message_id="ID1").headers, filled(b"data"))


def test_the_group_may_read_what_others_may_not(tmp_path):
    headers = MeshHeaders("ID1", "W", "DATA", all={})

    DirectorySpool(tmp_path).spool(headers, filled(b"data"))

    assert (tmp_path / "ID1.dat").stat().st_mode & 0o007 == 0
    assert (tmp_path / "ID1.ctl").stat().st_mode & 0o007 == 0
