"""Images in a real engine: listing, archives, the router's image, and the command that shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.kind.docker import Docker
from clusters.kind.images import (
    ROUTER_DOCKERFILE,
    find_image,
    find_images,
    list_images,
    load_archive,
    save_archive,
)
from clusters.kind.versions import CALICO_IMAGES, NODE_IMAGES, PROBER_IMAGE, ROUTER_IMAGE, PinnedImage
from hitless.errors import MissingCapabilityError, UsageError
from tests.kind.stand_ins import IMAGE, import_image

NODE = NODE_IMAGES[1, 36]


@pytest.fixture
def engine(docker: Docker) -> Iterator[Docker]:
    """The engine with nothing but the image that stands in for others."""
    import_image(docker)
    yield docker
    for name in (NODE.name, PROBER_IMAGE, ROUTER_IMAGE, *(image.name for image in CALICO_IMAGES)):
        if docker.has_image(name):
            docker.run("rmi", name)


def save(docker: Docker, name: str, directory: Path) -> Path:
    """Write a `docker save` archive of an image of that name, and remove the image."""
    docker.run("tag", IMAGE, name)
    docker.run("save", "--output", str(directory / "archive.tar"), name)
    docker.run("rmi", name)
    return directory / "archive.tar"


def test_an_archive_is_loaded_and_its_image_found_by_its_tag(engine: Docker, tmp_path: Path) -> None:
    archive = save(engine, NODE.name, tmp_path)
    assert find_image(engine, NODE) is None
    assert load_archive(engine, archive) == (NODE.name,)
    # An archive carries no digest of a registry: the pinned one cannot be compared, and only the tag identifies the image.
    assert find_image(engine, NODE) == NODE.name


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_what_is_no_archive_is_refused(engine: Docker, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "archive.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="--load"):
        load_archive(engine, path)


def test_what_is_missing_is_listed_with_what_is_there(engine: Docker) -> None:
    engine.run("tag", IMAGE, CALICO_IMAGES[0].name)
    states = {image.name: reference for image, reference in list_images(engine, (NODE,)).items()}
    assert states == {
        NODE.name: None,
        CALICO_IMAGES[0].name: CALICO_IMAGES[0].name,
        **{image.name: None for image in CALICO_IMAGES[1:]},
        ROUTER_IMAGE: None,
        PROBER_IMAGE: None,
    }


def test_the_routers_image_is_built_from_its_dockerfile_on_the_nodes_image(engine: Docker) -> None:
    for name in (NODE.name, PROBER_IMAGE, *(image.name for image in CALICO_IMAGES)):
        engine.run("tag", IMAGE, name)
    images = find_images(engine, NODE.reference)
    assert (images.node, images.router) == (NODE.name, ROUTER_IMAGE)
    entry = engine.run("image", "inspect", "--format", "{{json .Config.Entrypoint}} {{json .Config.Cmd}}", ROUTER_IMAGE)
    assert entry.strip() == '["/bin/sleep"] ["infinity"]'
    assert images.provenance[ROUTER_IMAGE].startswith("sha256:")


def test_the_dockerfile_is_pinned_to_the_default_nodes_image() -> None:
    assert f"ARG BASE={NODE.reference}" in ROUTER_DOCKERFILE.read_text(encoding="utf-8").splitlines()


def test_a_pulled_image_is_asked_for_by_digest_first(engine: Docker) -> None:
    image = PinnedImage(name=IMAGE, digest="sha256:" + "0" * 64, purpose="none")
    assert find_image(engine, image) == IMAGE


def run_command(docker: Docker, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": docker.environment["DOCKER_HOST"], "COLUMNS": "250"}
    return subprocess.run(  # noqa: S603 - our own program
        [str(Path(sys.executable).parent / "hitless"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_loads_lists_and_says_what_is_missing(engine: Docker, tmp_path: Path) -> None:
    archive = save(engine, NODE.name, tmp_path)
    done = run_command(engine, "kind", "images", "--kubernetes", "1.36", "--load", str(archive))
    assert done.returncode == 20, done.stderr
    assert f"loaded {NODE.name}" in done.stdout
    assert f"{CALICO_IMAGES[0].name}: docker pull" in done.stdout
    for name in (PROBER_IMAGE, *(image.name for image in CALICO_IMAGES)):
        engine.run("tag", IMAGE, name)
    complete = run_command(engine, "kind", "images", "--kubernetes", "1.36")
    assert complete.returncode == 0, complete.stdout
    assert "docker pull" not in complete.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("images", "--kubernetes", "1.2.3"), "--kubernetes: found '1.2.3'"),
        (("images", "--kubernetes", "1.20"), "on kind: 1.34, 1.35, 1.36, 1.37"),
        (("images", "--load", "/nowhere"), "--load: found /nowhere"),
        (("images", "--cluster-name", "none"), "nothing: hitless has no kind cluster here"),
        (("down", "--cluster-name", "none"), "nothing: hitless has no kind cluster here"),
    ],
)
def test_a_wrong_option_gives_one_message(engine: Docker, arguments: tuple[str, ...], words: str) -> None:
    done = run_command(engine, "kind", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_saved_on_one_machine_is_all_that_another_one_needs(engine: Docker, tmp_path: Path) -> None:
    wanted = [NODE.name, *(image.name for image in CALICO_IMAGES), PROBER_IMAGE]
    for name in wanted:
        engine.run("tag", IMAGE, name)
    archive = tmp_path / "kind.tar"
    saved = run_command(engine, "kind", "images", "--kubernetes", "1.36", "--save", str(archive))
    assert (saved.returncode, [line for line in saved.stdout.splitlines() if line.startswith("saved")]) == (
        0,
        [f"saved {name}" for name in wanted],
    )
    engine.run("rmi", *wanted)
    assert run_command(engine, "kind", "images", "--kubernetes", "1.36").returncode == 20
    loaded = run_command(engine, "kind", "images", "--kubernetes", "1.36", "--load", str(archive))
    assert loaded.returncode == 0, loaded.stdout
    assert sorted(line for line in loaded.stdout.splitlines() if line.startswith("loaded")) == sorted(
        f"loaded {name}" for name in wanted
    )
    assert find_images(engine, NODE.reference).node == NODE.name


def test_an_image_that_was_pulled_by_its_digest_is_saved_under_its_name(engine: Docker, tmp_path: Path) -> None:
    # An id stands for a digest here: without a registry nothing has one.
    digest = engine.image_id(IMAGE)
    image = PinnedImage(name=NODE.name, digest=digest, purpose="the nodes")
    assert save_archive(engine, {image: digest}, tmp_path / "archive.tar") == (NODE.name,)
    engine.run("rmi", NODE.name)
    assert load_archive(engine, tmp_path / "archive.tar") == (NODE.name,)


def test_nothing_is_saved_where_nothing_is_here(engine: Docker, tmp_path: Path) -> None:
    with pytest.raises(MissingCapabilityError, match="nothing to save"):
        save_archive(engine, list_images(engine, (NODE,)), tmp_path / "archive.tar")
    assert not (tmp_path / "archive.tar").exists()


def test_the_names_to_pull_are_pinned_and_need_no_docker(monkeypatch: pytest.MonkeyPatch, engine: Docker) -> None:
    monkeypatch.setitem(engine.environment, "DOCKER_HOST", "unix:///nowhere")
    done = run_command(engine, "kind", "images", "--names", "--kubernetes", "1.36")
    monkeypatch.undo()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [NODE.reference, *(image.name for image in CALICO_IMAGES)]
