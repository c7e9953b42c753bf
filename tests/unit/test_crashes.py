"""Which container crashes, and what its log says."""

from __future__ import annotations

from clusters.kubernetes.crashes import describe_crashes, find_crashes, find_unready
from hitless.errors import ApiUnavailableError
from hitless.words import JsonObject


def pod_of(name: str, *, init: JsonObject | None = None, main: JsonObject | None = None) -> JsonObject:
    return {
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"nodeName": "node-a1"},
        "status": {"initContainerStatuses": [init] if init else [], "containerStatuses": [main] if main else []},
    }


def crashed(name: str, restarts: int) -> JsonObject:
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 127}},
    }


def read_log(namespace: str, pod: str, container: str, *, lines_max: int, is_previous: bool) -> str:
    return f"{namespace}/{pod}/{container} {lines_max} {is_previous}\n\nsh: Syntax error\n"


def test_an_init_container_that_crashes_is_named_with_the_end_of_its_log() -> None:
    crashes = find_crashes([pod_of("calico-node-1", init=crashed("log-mtu-issues", 3))])
    assert [crash.is_hopeless for crash in crashes] == [True]
    assert describe_crashes(read_log, crashes) == (
        "container log-mtu-issues of pod calico-node-1 on node-a1 ended with exit code 127; "
        "its log ends: kube-system/calico-node-1/log-mtu-issues 5 True | sh: Syntax error"
    )


def test_the_first_crash_is_no_reason_to_give_up_and_its_log_is_the_present_one() -> None:
    ended = {"name": "install-cni", "restartCount": 0, "state": {"terminated": {"exitCode": 1}}}
    crashes = find_crashes([pod_of("calico-node-1", init=ended)])
    assert [crash.is_hopeless for crash in crashes] == [False]
    assert "install-cni 5 False" in describe_crashes(read_log, crashes)


def test_what_runs_or_ended_well_or_waits_for_its_turn_is_no_crash() -> None:
    done = {"name": "install-cni", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
    running = {"name": "calico-node", "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}
    waiting = {"name": "calico-node", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
    assert find_crashes([pod_of("a", init=done, main=running), pod_of("b", main=waiting), {**pod_of("c"), "status": {}}]) == ()


def test_a_log_that_cannot_be_read_is_said() -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ApiUnavailableError("no answer")

    assert describe_crashes(refuse, find_crashes([pod_of("a", main=crashed("felix", 5))])).endswith("cannot be read: no answer")


def test_what_runs_and_is_not_ready_is_named_with_its_log_and_is_no_crash() -> None:
    slow = {"name": "calico-node", "restartCount": 4, "ready": False, "state": {"running": {}}}
    ready = {"name": "ensurer", "restartCount": 0, "ready": True, "state": {"running": {}}}
    pods = [pod_of("b", main=slow), pod_of("a", main=ready), {**pod_of("c"), "status": {}}]
    assert find_crashes(pods) == ()
    (found,) = find_unready(pods)
    assert not found.is_hopeless
    assert describe_crashes(read_log, [found]).startswith(
        "container calico-node of pod b on node-a1 is not ready; its log ends: "
    )
