"""What travels on with a request and an answer, and what ends at the router."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.replica import Exchange
from parts.routed import Routed

from longshore.router.headers import (
    HOP_BY_HOP,
    combined,
    has_body,
    request_id,
    to_client,
    to_replica,
)

NAMES = st.sampled_from([*sorted(HOP_BY_HOP), b"accept", b"x-a", b"x-b", b"cookie", b"host"])
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"x-a", b"close, X-B", b"v"])))


def sent(received: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return to_replica(received, host="10.0.0.1:80", peer="10.9.9.9", scheme="http", request_id="r1")


@given(HEADERS)
def test_no_header_of_one_hop_ever_passes(received: list[tuple[bytes, bytes]]) -> None:
    named = {
        each.strip().lower()
        for name, value in received
        if name == b"connection"
        for each in value.split(b",")
    }
    for passed in (sent(received), to_client(received, status=200, version="a:1")):
        names = [name for name, _ in passed]
        assert HOP_BY_HOP.isdisjoint(names)
        assert not named.intersection(names) - {b"host"}


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"accept"]), st.binary())))
def test_order_and_duplicates_are_kept(received: list[tuple[bytes, bytes]]) -> None:
    assert sent(received)[1:-3] == received
    assert to_client(received, status=200, version="a:1")[:-1] == received


def test_host_is_the_replicas_and_the_clients_is_told() -> None:
    headers = sent([(b"host", b"models.example.com"), (b"x-a", b"1")])
    assert headers[0] == (b"host", b"10.0.0.1:80")
    assert (b"x-forwarded-host", b"models.example.com") in headers
    assert (b"x-forwarded-proto", b"http") in headers
    assert (b"x-forwarded-for", b"10.9.9.9") in headers


def test_proxies_before_us_are_kept_in_the_path() -> None:
    before = [
        (b"host", b"longshore:8000"),
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-forwarded-for", b"2.2.2.2"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"models.example.com"),
    ]
    headers = dict(sent(before))
    assert headers[b"x-forwarded-for"] == b"1.1.1.1, 2.2.2.2, 10.9.9.9"
    assert headers[b"x-forwarded-proto"] == b"https"
    assert headers[b"x-forwarded-host"] == b"models.example.com"


def test_a_client_cannot_strip_what_the_router_adds_or_a_bodys_length() -> None:
    headers = sent([(b"connection", b"x-forwarded-for, content-length"), (b"content-length", b"3")])
    assert (b"x-forwarded-for", b"10.9.9.9") in headers
    assert (b"content-length", b"3") in headers


@pytest.mark.parametrize("given", [b"abc-123", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00", b"a/b=c"])
def test_a_sane_request_id_is_kept(given: bytes) -> None:
    assert request_id([(b"x-request-id", given)]) == given.decode()


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"a\tb", b"\xff", b'"><script>'])
def test_any_other_is_replaced(given: bytes) -> None:
    made = request_id([(b"x-request-id", given)])
    assert len(made) == 32
    assert made != request_id([])


def test_which_requests_have_a_body() -> None:
    assert has_body([(b"content-length", b"1")])
    assert has_body([(b"transfer-encoding", b"chunked")])
    assert not has_body([(b"content-length", b"0")])
    assert not has_body([])


async def test_headers_through_the_router(router: Routed) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(
            b"x",
            headers=(
                b"X-Same: 1",
                b"X-Other: 2",
                b"X-Same: 3",
                b"Connection: X-Mine",
                b"X-Mine: secret",
                b"Keep-Alive: timeout=5",
                b"Server: tensorflow",
                b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
                b"X-Request-Id: not-yours-to-say",
                b"X-Longshore-Version: other:9",
            ),
        )

    replica = await router.serving(answer)
    reader, _ = await router.raw(
        b"GET /v1/models/iris/versions/1/raw/ HTTP/1.1\r\nHost: localhost:1234\r\n"
        b"X-A: 1\r\nX-B: \xc3\xa9\r\nX-A: 3\r\nAuthorization: Basic mine\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: x\r\nTE: trailers\r\n"
        b"X-Request-Id: caller-1\r\n\r\n"
    )
    head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    same = [line for line in lines if line.lower().startswith((b"x-same", b"x-other"))]
    assert same == [b"x-same: 1", b"x-other: 2", b"x-same: 3"]
    assert b"x-request-id: caller-1" in lines
    assert b"x-longshore-version: iris:1" in lines
    assert b"server: tensorflow" in lines
    assert len([line for line in lines if line.startswith(b"date:")]) == 1
    for gone in (b"secret", b"keep-alive", b"1970", b"not-yours", b"other:9", b"uvicorn"):
        assert gone not in head
    arrived = replica.last
    assert [each for each in arrived.headers if each[0] in {b"x-a", b"x-b"}] == [
        (b"x-a", b"1"),
        (b"x-b", b"\xc3\xa9"),
        (b"x-a", b"3"),
    ]
    assert arrived.header("host") == f"127.0.0.1:{replica.port}"
    assert arrived.header("x-forwarded-host") == "localhost:1234"
    assert arrived.header("x-forwarded-for") == "127.0.0.1"
    assert arrived.header("x-request-id") == "caller-1"
    assert arrived.header("authorization") == "Basic mine", "nothing of Longshore's is in it"
    names = {name for name, _ in arrived.headers}
    assert not names & {b"x-hop", b"te", b"proxy-authorization", b"connection"}
    assert not names & {b"user-agent", b"accept", b"accept-encoding", b"content-type"}


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ([], None),
        ([b""], None),
        ([b" \t"], None),
        ([b" a "], b"a"),
        ([b"b", b"", b"a"], b"b, a"),
    ],
)
def test_several_headers_of_one_name_have_one_value(
    values: list[bytes], joined: bytes | None
) -> None:
    received = [(b"x", b"1"), *((b"x-user-id", value) for value in values)]
    assert combined(received, b"x-user-id") == joined
