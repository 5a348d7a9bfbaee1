"""The unit that is shipped: systemd takes it as it is, and it is locked down as far as it promises."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from mesh_itk3.settings_errors import ConfigInvalid

SYSTEMD = Path(__file__).resolve().parents[1] / "systemd"
UNIT = SYSTEMD / "mesh-itk3.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture
def unit(tmp_path) -> Path:
    """The shipped unit, but with a program that is there."""
    path = tmp_path / UNIT.name
    path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    return path


def test_systemd_finds_nothing_wrong_with_the_unit(unit):
    verified = run("systemd-analyze", "verify", unit)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_exposure_is_one_point_five_or_less(unit):
    looked_at = run("systemd-analyze", "security", "--offline=true", "--threshold=15", unit)

    assert looked_at.returncode == 0, looked_at.stdout


def test_program_is_started_by_an_absolute_path_with_its_configuration():
    assert settings()["ExecStart"] == ["/opt/mesh-itk3/bin/mesh-itk3 run --config /etc/mesh-itk3/mesh-itk3.toml"]


def test_wrong_configuration_does_not_start_again_and_everything_else_does():
    assert settings()["Restart"] == ["on-failure"]
    assert settings()["RestartPreventExitStatus"] == [str(ConfigInvalid.exit_code)]


def test_service_is_watched_and_has_time_to_finish():
    said = settings()

    assert said["Type"] == ["notify"]
    assert int(said["WatchdogSec"][0]) >= 60
    assert int(said["TimeoutStopSec"][0]) > 20


def test_service_runs_as_its_own_user_with_a_directory_of_its_own():
    said = settings()

    assert said["User"] == said["Group"] == said["StateDirectory"] == ["mesh-itk3"]
    assert said["StateDirectoryMode"] == ["0700"]
    assert said["LoadCredential"][0].startswith("mesh__shared_key:")


def test_user_and_directories_are_made_as_the_unit_needs_them(tmp_path):
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "mesh-itk3.sysusers")
    assert made.returncode == 0, made.stderr
    assert re.search(
        r"^mesh-itk3:.*:/var/lib/mesh-itk3:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )

    made = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "mesh-itk3.tmpfiles")
    assert made.returncode == 0, made.stderr
    modes = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("etc/mesh-itk3", "etc/mesh-itk3/credentials")}
    assert modes == {"etc/mesh-itk3": 0o750, "etc/mesh-itk3/credentials": 0o700}
