"""Which program a file is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clusters.programs.identity import check_program, identify
from hitless.errors import MissingCapabilityError
from hitless.facts import Part, PartIdentity


def write_script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def go_program(path: Path, module: str) -> Path:
    """Write what Go's linker leaves in a program: magic, header, two texts with their lengths."""

    def text(content: bytes) -> bytes:
        length, octets = len(content), bytearray()
        while length >= 0x80:
            octets.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([*octets, length]) + content

    header = (b"\xff Go buildinf:" + bytes([8, 2])).ljust(32, b"\0")
    wrapped = b"0" * 16 + module.encode() + b"1" * 16
    path.write_bytes(b"\x7fELF".ljust(64, b"\0") + header + text(b"go1.26.8") + text(wrapped))
    path.chmod(0o755)
    return path


def test_a_missing_program_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(MissingCapabilityError, match=r"--extension .*/none: no such file"):
        check_program("--extension", tmp_path / "none")


def test_a_program_that_may_not_be_executed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text("")
    with pytest.raises(MissingCapabilityError, match=r"--extension .*: not executable; run `chmod"):
        check_program("--extension", path)


def test_the_version_is_what_the_program_states(tmp_path: Path) -> None:
    path = write_script(tmp_path / "program", "print('Kubernetes v1.60.0-dev')")
    identity = identify(Part.EXTENSION, path)
    assert identity == PartIdentity(
        name=Part.EXTENSION, is_double=False, version="v1.60.0-dev", digest=identity.digest, path=str(path)
    )


def test_a_program_without_the_option_may_state_its_version_in_its_log(tmp_path: Path) -> None:
    script = 'import sys\nsys.stderr.write(\'{"msg": "version", "version": "v0.17.0"}\\nunknown flag\\n\')\nsys.exit(2)'
    assert identify(Part.ROUTE_CONTROLLER, write_script(tmp_path / "program", script)).version == "v0.17.0"


@pytest.mark.parametrize(("is_modified", "commit"), [("false", "2d789005"), ("true", "2d789005 and uncommitted changes")])
def test_build_information_gives_version_and_commit(tmp_path: Path, is_modified: str, commit: str) -> None:
    lines = (
        "path\tgithub.com/gardener/aws-custom-route-controller",
        "mod\tgithub.com/gardener/aws-custom-route-controller\tv0.17.1\t",
        "dep\tgithub.com/aws/smithy-go\tv1.27.8\th1:abc=",
        "build\tvcs.revision=2d789005",
        f"build\tvcs.modified={is_modified}",
    )
    identity = identify(Part.ROUTE_CONTROLLER, go_program(tmp_path / "program", "\n".join(lines)))
    assert (identity.version, identity.commit) == ("v0.17.1", commit)


def test_a_program_without_build_information_has_only_its_digest(tmp_path: Path) -> None:
    path = write_script(tmp_path / "program", "")
    identity = identify(Part.EXTENSION, path)
    assert (identity.version, identity.commit) == ("", None)
    assert identity.digest is not None
    assert len(identity.digest) == len("sha256:") + 64
