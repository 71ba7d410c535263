import pytest

from longshore.hardware.challenges import Challenge, read_challenges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="The \\"yard\\""', [Challenge("basic", {"realm": 'The "yard"'})]),
        ("Basic", [Challenge("basic", {})]),
        (
            'Bearer realm="https://auth.example.com/token",service="r",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example.com/token",
                        "service": "r",
                        "scope": "repository:a:pull,push",
                    },
                )
            ],
        ),
        (
            'BEARER Realm = "x" , Service=y, Basic realm="z"',
            [
                Challenge("bearer", {"realm": "x", "service": "y"}),
                Challenge("basic", {"realm": "z"}),
            ],
        ),
        (
            'Negotiate, Basic realm="z"',
            [Challenge("negotiate", {}), Challenge("basic", {"realm": "z"})],
        ),
        ("", []),
        ('="', []),
        ('Bearer realm="open', [Challenge("bearer", {})]),
    ],
)
def test_challenges_are_read_as_rfc_9110_writes_them(header: str, found: list[Challenge]) -> None:
    assert read_challenges([header]) == found


def test_several_headers_are_joined_in_order() -> None:
    schemes = [each.scheme for each in read_challenges(['Basic realm="a"', 'Bearer realm="b"'])]
    assert schemes == ["basic", "bearer"]
