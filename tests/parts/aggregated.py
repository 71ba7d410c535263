"""Letting a cluster's API server pass a part of its API on to a server on this machine."""

import socket
import subprocess
from base64 import b64encode
from pathlib import Path

from parts.kubectl import Kubectl

GROUP = "external.metrics.k8s.io"
SERVICE = "longshore-metrics"


def own_address() -> str:
    """Return an address of this machine that others can reach it at."""
    shown = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout
    return next(each for each in shown.split() if "." in each)


def free_port(host: str) -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def certificate(directory: Path, namespace: str) -> tuple[Path, Path]:
    """Make a certificate for the service, signed by itself; return it and its key."""
    return self_signed(directory, "metrics", f"DNS:{SERVICE}.{namespace}.svc")


def self_signed(directory: Path, stem: str, alternative: str) -> tuple[Path, Path]:
    """Make a certificate, signed by itself; return it and its key.

    Args:
        directory: where to write both.
        stem: of their names.
        alternative: whom it is for, ``DNS:...`` or ``IP:...``.
    """
    made, key = directory / f"{stem}.crt", directory / f"{stem}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={stem}", "-addext", f"subjectAltName={alternative}"),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


def serve_through(kubectl: Kubectl, host: str, port: int, authority: Path) -> None:
    """Let the API server pass ``external.metrics.k8s.io`` on to an address."""
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE},
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        }
    )
    kubectl.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        }
    )
    kubectl.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": SERVICE, "namespace": kubectl.namespace},
                "caBundle": b64encode(authority.read_bytes()).decode(),
            },
        }
    )


def serve_no_more(kubectl: Kubectl) -> None:
    """Take that back."""
    kubectl.run("delete", "apiservice", f"v1beta1.{GROUP}", "--ignore-not-found")
