import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.errors import InvalidInput
from longshore.hardware.references import Reference

SHA = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12", "docker.io/library/python:3.12"),
        ("team/iris", "docker.io/team/iris:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/team/iris:1", "docker.io/team/iris:1"),
        ("localhost/iris", "localhost/iris:latest"),
        ("localhost:5001/iris:1", "localhost:5001/iris:1"),
        ("localhost:5001", "docker.io/library/localhost:5001"),
        ("127.0.0.1:5000/a/b__c/d-e.f:v_1", "127.0.0.1:5000/a/b__c/d-e.f:v_1"),
        ("[::1]:5000/iris", "[::1]:5000/iris:latest"),
        ("ghcr.io/Team".lower() + "/iris", "ghcr.io/team/iris:latest"),
        ("Registry/iris", "Registry/iris:latest"),
        (f"iris@{SHA}", f"docker.io/library/iris@{SHA}"),
        (f"r.example.com/iris:1@{SHA}", f"r.example.com/iris@{SHA}"),
    ],
)
def test_references_mean_what_docker_pull_means(text: str, complete: str) -> None:
    assert str(Reference.parse(text)) == complete


def test_tag_and_digest_are_both_kept_and_the_digest_is_asked_for() -> None:
    both = Reference.parse(f"localhost:5001/iris:1@{SHA}")
    assert (both.tag, both.digest, both.target) == ("1", SHA, SHA)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it names no repository"),
        ("Iris", "the path must be lowercase: iris"),
        ("localhost:5001/Team/Iris:1", "the path must be lowercase: team/iris"),
        ("iris:", "'' is no tag"),
        ("iris:.1", "'.1' is no tag"),
        ("iris:" + "a" * 129, "is no tag"),
        ("iris@", "'' is no digest"),
        ("iris@sha256:abc", "'sha256:abc' is no digest"),
        (f"iris@{SHA.upper()}", "is no digest"),
        ("iris@sha512:" + "a" * 128, "is no digest"),
        ("a1" * 32, "it is an image's id"),
        ("localhost:0/iris", "'localhost:0' is no host[:port]"),
        ("localhost:99999/iris", "'localhost:99999' is no host[:port]"),
        ("999.1.1.1/iris", "'999.1.1.1' is no host[:port]"),
        ("127.1/iris", "'127.1' is no host[:port]"),
        ("[::z]/iris", "is no host[:port]"),
        ("-bad.example.com/iris", "is no host[:port]"),
        ("https://r.example.com/iris", "is no path of a repository"),
        ("user:secret@r.example.com/iris", "is no digest"),
        ("r.example.com/../iris", "is no path of a repository"),
        ("r.example.com//iris", "is no path of a repository"),
        ("r.example.com/iris/", "is no path of a repository"),
        ("iris model", "is no path of a repository"),
        ("iris\n", "is no path of a repository"),
        ("\u0131ris", "is no path of a repository"),
        ("r.example.com/" + "a" * 250, "longer than 255"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_rule(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Reference.parse(text)
    assert problem in caught.value.message
    assert caught.value.pointer == "/image"
    assert "[HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]" in caught.value.hint


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9.:/@_\-\[\]]{1,80}", fullmatch=True))
def test_whatever_passes_is_complete_and_means_itself(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except InvalidInput:
        return
    again = Reference.parse(str(parsed))
    assert str(again) == str(parsed)
    assert (again.host, again.path) == (parsed.host, parsed.path)
    # Nothing that could leave its place in a URL.
    assert not set(" ?#%\\@") & set(parsed.path + (parsed.tag or ""))
    assert ".." not in parsed.path.split("/")
