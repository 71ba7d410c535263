"""Objects are written where they can be, and those of others are left alone."""

from typing import Any

import pytest
from parts.memory_cluster import OWNER_ID, MemoryApi, MemoryCache, memory_cluster

from longshore.core.errors import WorkloadFailed
from longshore.plugins.kubernetes import writing
from longshore.plugins.kubernetes.client import ApiError
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.kinds import (
    CLAIM_TEMPLATE,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    SERVICE,
    Kind,
)
from longshore.plugins.kubernetes.labels import OWNER
from longshore.plugins.kubernetes.writing import Writer

OURS = {"labels": {OWNER: OWNER_ID}}
THEIRS = {"labels": {OWNER: "another"}}
GOING = ApiError(403, "Forbidden", "unable to create new content because it is being terminated")


def manifest(name: str = "iris", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **OURS}, "spec": spec}


def world() -> tuple[MemoryApi, Cluster, Writer]:
    api, cluster = memory_cluster(DEPLOYMENT, SERVICE, CLAIM_TEMPLATE)
    return api, cluster, Writer(cluster)


def see(cluster: Cluster, kind: Kind, item: dict[str, Any]) -> None:
    cache = cluster.caches[kind]
    assert isinstance(cache, MemoryCache)
    cache.see(item)


async def test_a_namespace_that_is_missing_is_made() -> None:
    api, _, writer = world()

    def missing(method: str, path: str) -> Exception | None:
        made = api.has(NAMESPACE, "models")
        return None if made or method != "APPLY" else ApiError(404, "NotFound", "no namespace")

    api.refuse = missing
    await writer.write(DEPLOYMENT, manifest())
    assert api.has(DEPLOYMENT, "iris")


async def test_a_namespace_that_another_version_made_meanwhile_is_no_error() -> None:
    api, _, writer = world()
    api.put(NAMESPACE, "models")
    refused = iter([ApiError(404, "NotFound", "no namespace")])
    api.refuse = lambda method, path: next(refused, None) if method == "APPLY" else None
    await writer.write(DEPLOYMENT, manifest())
    assert api.has(DEPLOYMENT, "iris")


async def test_a_namespace_that_is_going_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ASK_AGAIN", 0)
    api, _, writer = world()
    refused = iter([GOING, GOING])
    api.refuse = lambda method, path: next(refused, None)
    await writer.write(DEPLOYMENT, manifest())
    assert api.has(DEPLOYMENT, "iris")


async def test_other_refusals_are_told_at_once() -> None:
    api, _, writer = world()
    api.refuse = lambda method, path: ApiError(403, "Forbidden", "exceeded quota")
    with pytest.raises(ApiError, match="exceeded quota"):
        await writer.write(DEPLOYMENT, manifest())
    assert len(api.asked) == 1


async def test_a_claim_template_that_changes_is_made_anew() -> None:
    api, cluster, writer = world()
    see(cluster, CLAIM_TEMPLATE, manifest(gpus="1"))
    await writer.write(CLAIM_TEMPLATE, manifest(gpus="2"))
    assert [each.partition(" ")[0] for each in api.asked] == ["DELETE", "APPLY"]
    api.asked.clear()
    see(cluster, CLAIM_TEMPLATE, manifest(gpus="2"))
    await writer.write(CLAIM_TEMPLATE, manifest(gpus="2"))
    assert [each.partition(" ")[0] for each in api.asked] == ["APPLY"]


@pytest.mark.parametrize(
    ("metadata", "whose"),
    [(THEIRS, r"another installation of Longshore \(another\)"), ({}, "somebody else")],
)
async def test_a_name_that_is_taken_is_refused(metadata: dict[str, Any], whose: str) -> None:
    api, _, writer = world()
    api.put(SERVICE, "iris", metadata=metadata)
    with pytest.raises(WorkloadFailed, match=f"a Service iris that belongs to {whose}") as caught:
        await writer.refuse_strangers(SERVICE, "iris")
    assert "kubectl get services iris" in caught.value.hint


async def test_what_is_ours_is_no_stranger() -> None:
    api, cluster, writer = world()
    see(cluster, DEPLOYMENT, manifest())
    await writer.refuse_strangers(DEPLOYMENT, "iris")
    assert api.asked == [], "known, so nobody is asked"
    api.put(SERVICE, "iris", metadata=OURS)
    await writer.refuse_strangers(SERVICE, "iris")


async def test_what_is_wanted_no_more_is_dropped_where_it_is_known() -> None:
    api, cluster, writer = world()
    api.put(SERVICE, "iris", metadata=OURS)
    await writer.drop(SERVICE, "iris")
    assert api.has(SERVICE, "iris")
    see(cluster, SERVICE, manifest())
    await writer.drop(SERVICE, "iris")
    assert not api.has(SERVICE, "iris")
    # They are not followed, for nobody is to have all of them at hand.
    api.put(SECRET, "iris", metadata=OURS)
    await writer.drop(SECRET, "iris")
    assert not api.has(SECRET, "iris")


async def test_what_is_so_new_that_no_cache_knows_it_is_removed() -> None:
    api, _, writer = world()
    api.put(DEPLOYMENT, "iris", metadata=OURS)
    await writer.remove(DEPLOYMENT, "iris")
    assert not api.has(DEPLOYMENT, "iris")


async def test_a_stranger_of_the_same_name_is_not_removed() -> None:
    api, _, writer = world()
    api.put(DEPLOYMENT, "iris", metadata=THEIRS)
    await writer.remove(DEPLOYMENT, "iris")
    assert api.has(DEPLOYMENT, "iris")


async def test_a_kind_that_could_never_be_looked_at_is_not_asked_about() -> None:
    api, cluster, writer = world()
    cluster.caches[CLAIM_TEMPLATE].synced.clear()
    await writer.remove(CLAIM_TEMPLATE, "iris")
    assert api.asked == []
