"""Values that many tests need: a version and what belongs to it, each field with a sane content."""

from datetime import UTC, datetime

from longshore.core.names import VersionKey
from longshore.core.types import (
    Address,
    Confidence,
    HardwarePlan,
    Image,
    ImageConfig,
    Placement,
    RankedNode,
    Replica,
    ReplicaState,
    Serving,
    Version,
    VersionRecord,
    VersionSpec,
    VersionStatus,
    Wish,
    WorkloadStatus,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def image(digit: str = "a") -> Image:
    return Image(
        reference="localhost:5001/iris:1",
        repository="localhost:5001/iris",
        digest="sha256:" + digit * 64,
        platforms=("linux/amd64",),
        config=ImageConfig(architecture="amd64", os="linux", tcp_ports=(8080,)),
    )


def serving() -> Serving:
    return Serving(
        contract="generic",
        port=8080,
        health_path="/health",
        health_required=False,
        predict_path="/predict",
        why="an example",
        confidence=Confidence.INFERRED,
    )


def version(name: str = "iris", number: str = "1", **spec: object) -> Version:
    return Version(
        key=VersionKey(name, number),
        spec=VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec}),
        image=image(),
        serving=serving(),
        placement=Placement(
            backend="engine",
            nodes=(RankedNode(name="here", score=50),),
            plan=HardwarePlan(),
        ),
        created_at=NOON,
    )


def record(wish: Wish = Wish.RUN, **status: object) -> VersionRecord:
    known = VersionStatus.model_validate({"since": NOON, **status})
    return VersionRecord(version=version(), wish=wish, status=known)


def replica(state: ReplicaState = ReplicaState.READY, number: int = 1, **fields: object) -> Replica:
    address = Address(host="127.0.0.1", port=30000 + number)
    return Replica.model_validate(
        {"id": f"replica-{number}", "state": state, "address": address, **fields}
    )


def workload_status(*replicas: Replica, fingerprint: str = "right") -> WorkloadStatus:
    return WorkloadStatus(key=VersionKey("iris", "1"), fingerprint=fingerprint, replicas=replicas)
