"""The build of images for kind: what needs neither Go, Debian nor an engine."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.kind.images.archives import Image, LayerWriter, write_archive
from tests.kind.images.calico import patch_stubs
from tests.kind.images.node_image import read_names
from tests.kind.images.steps import Step, run_steps
from tests.kind.images.workload_images import DOCKERFILE, copied_files

STUBS = """\
//go:build !cgo

package maps

import "time"

func Pin(name string) error {
	panic("BPF syscall stub")
}

func Count(wait time.Duration) (int, error) {
	panic("BPF syscall stub")
}

func (m *Map) Next() (k, v []byte, err error) {
	panic("BPF syscall stub")
}

func (m *Map) Name() string {
	panic("BPF syscall stub")
}
"""


def make_step(made: list[str], tmp_path: Path, version: str = "1") -> Step:
    def make(folder: Path) -> None:
        made.append(version)
        (folder / "product").write_text(version)

    code = tmp_path / "code.py"
    code.write_text("the text of the module")
    return Step(name="part", inputs={"version": version}, make=make, code=code)


def test_a_step_is_made_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    made: list[str] = []
    for version in ("1", "1", "2", "2"):
        run_steps([make_step(made, tmp_path, version)], tmp_path / "state")
    assert made == ["1", "2"]
    assert (tmp_path / "state" / "part" / "product").read_text() == "2"


def test_a_step_is_made_again_when_what_it_needs_changes(tmp_path: Path) -> None:
    made: list[str] = []
    for version in ("1", "2"):
        below = make_step([], tmp_path, version)
        step = Step(name="above", inputs={}, make=lambda _: made.append("above"), code=tmp_path / "code.py", needs=(below,))
        run_steps([below, step], tmp_path / "state")
    assert made == ["above", "above"]


def test_an_interrupted_step_leaves_no_product(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    step = Step(name="part", inputs={}, make=make, code=Path(__file__))
    with pytest.raises(KeyboardInterrupt):
        run_steps([step], tmp_path)
    assert not (tmp_path / "part").exists()


def test_an_archive_holds_a_shared_layer_once_and_names_its_images(tmp_path: Path) -> None:
    layers = []
    for name in ("below", "above"):
        path = tmp_path / name
        with LayerWriter(path) as writer:
            writer.add_text(name, f"/etc/{name}")
        layers.append(path)
    images = [
        Image(name="one:1", layers=(layers[0],), entrypoint=("/one",)),
        Image(name="two:1", layers=tuple(layers), user="999", labels={"held": "one:1"}),
    ]
    archive = tmp_path / "images.tar"
    write_archive(images, archive)
    assert read_names(archive) == ["one:1", "two:1"]
    with tarfile.open(archive) as stream:
        names = stream.getnames()
        manifest = json.load(stream.extractfile("manifest.json"))  # type: ignore[arg-type]  # it is there
        configuration = json.load(stream.extractfile(manifest[1]["Config"]))  # type: ignore[arg-type]  # it is there
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in layers]
    assert sorted(name for name in names if name.endswith("layer.tar")) == sorted(f"{digest}/layer.tar" for digest in digests)
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]
    assert (configuration["config"]["User"], configuration["config"]["Labels"]) == ("999", {"held": "one:1"})


def test_a_layer_of_the_same_files_has_the_same_digest(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "run").write_text("#!/bin/sh\n")
    for name in ("first", "second"):
        (source / "run").touch()
        with LayerWriter(tmp_path / name) as writer:
            writer.add_tree(source, "/etc/service", mode=0o755)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    with tarfile.open(tmp_path / "first") as archive:
        assert archive.getmember("etc/service/run").mode == 0o755


def test_a_stand_in_that_panicked_returns_an_error_where_it_can(tmp_path: Path) -> None:
    path = tmp_path / "stub.go"
    path.write_text(STUBS)
    patch_stubs(path)
    text = path.read_text()
    assert "func Pin(name string) error {\n\treturn errNoBPF\n}" in text
    assert "func Count(wait time.Duration) (int, error) {\n\treturn 0, errNoBPF\n}" in text
    assert "(k, v []byte, err error) {\n\treturn nil, nil, errNoBPF\n}" in text
    assert 'func (m *Map) Name() string {\n\tpanic("BPF syscall stub")\n}' in text
    assert (tmp_path / "without_bpf.go").read_text().startswith("package maps\n")


def test_a_source_that_the_patch_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stub.go"
    path.write_text("package maps\n")
    with pytest.raises(SystemExit, match=r"stub\.go has no stand-in that panics"):
        patch_stubs(path)


def test_the_prober_of_the_build_is_that_of_its_dockerfile() -> None:
    copied = [line for line in DOCKERFILE.read_text().splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert len(copied_files()) == sum(len(line.split()) - 2 for line in copied)
    assert all(path.is_file() for _, path in copied_files())
