"""A reader of image registries: OCI distribution and Docker's registry API, version 2.

It asks for manifests and configurations, a few kilobytes each, and streams layers to whoever reads
them. The other side is not trusted: every answer is bounded in bytes and time (a layer by its
reader), every content is checked against its digest (a layer by its reader), redirects are counted,
and credentials go to the registry and to the token service that it names, never in clear text to
another host.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx
from pydantic import BaseModel, ValidationError

from longshore.core.errors import InvalidInput, LongshoreError, Unavailable
from longshore.core.settings import RegistryLogin, is_loopback
from longshore.hardware.challenges import Challenge, read_challenges
from longshore.hardware.manifests import ACCEPT
from longshore.hardware.references import DOCKER_HUB, Reference

MOST_TOKEN_BYTES = 64 << 10
MOST_REDIRECTS = 5
SECONDS_IN_ALL = 60.0
TIMEOUT = httpx.Timeout(15, connect=5)


class RegistryClient:
    """Reads one repository; an async context manager.

    Args:
        reference: whose registry and repository.
        login: for this registry, if there is one.
        plain: ``host[:port]`` of registries that speak plain HTTP; loopback always does.
        tls: the certificates to trust.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        login: RegistryLogin | None,
        plain: Collection[str],
        tls: ssl.SSLContext,
    ) -> None:
        self._reference = reference
        self._host = reference.host
        self._login = login
        host = _hostname(self._host)
        self._plain = self._host in plain or is_loopback(host)
        self._plain_hosts = plain
        # Docker Hub's registry does not live where its images' names say.
        netloc = "registry-1.docker.io" if self._host == DOCKER_HUB else self._host
        self._base = httpx.URL(f"{'http' if self._plain else 'https'}://{netloc}")
        self._authorization = ""
        self._http = httpx.AsyncClient(
            verify=tls,
            timeout=TIMEOUT,
            # Environment proxies are for the world, not for this machine.
            trust_env=not is_loopback(host),
            headers={"user-agent": "longshore", "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def manifest(self, target: str, limit: int) -> tuple[bytes, str]:
        """Return a manifest and its digest.

        Args:
            target: a tag or a digest.
            limit: most bytes that it may have.

        Raises:
            InvalidInput: there is none, it may not be read, or it is not what its digest says.
            Unavailable: the registry does not answer as a registry does.
        """
        answer = await self._read(f"manifests/{target}", limit, {"accept": ACCEPT})
        told = answer.headers.get("docker-content-digest", "")
        expected = target if target.startswith("sha256:") else told
        return answer.body, self._verified(answer.body, expected, f"manifest {target}")

    async def delete(self, digest: str) -> None:
        """Delete a manifest; if it is not there, return silently.

        Raises:
            InvalidInput: the login does not do.
            Unavailable: the registry does not answer as a registry does, or deletes nothing.
        """
        answer = await self._ask("DELETE", f"manifests/{digest}", MOST_TOKEN_BYTES, {})
        if answer.status == httpx.codes.METHOD_NOT_ALLOWED:
            raise Unavailable(
                f"registry {self._host} deletes no images{answer.words}",
                hint="Registries must be set up to delete; or set delete_collected to false.",
            )
        if answer.status not in {httpx.codes.ACCEPTED, httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise self._refusal(answer)

    async def blob(self, digest: str, limit: int) -> bytes:
        """Return a blob.

        Raises:
            InvalidInput: there is none, it may not be read, or it is not what its digest says.
            Unavailable: the registry does not answer as a registry does.
        """
        answer = await self._read(f"blobs/{digest}", limit, {})
        self._verified(answer.body, digest, f"blob {digest}")
        return answer.body

    @asynccontextmanager
    async def stream(
        self, digest: str, span: tuple[int, int] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a blob, to be read as it comes; nothing of it is checked.

        Args:
            digest: of the blob.
            span: its first byte and the one after its last, to read a part of it.

        Yields:
            Its pieces, of some 64 KiB.

        Raises:
            InvalidInput: there is none, or it may not be read.
            Unavailable: the registry does not answer as a registry does, or sends no parts.
        """
        url = self._base.copy_with(path=f"/v2/{self._reference.path}/blobs/{digest}")
        headers = {"range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        wanted = httpx.codes.PARTIAL_CONTENT if span else httpx.codes.OK
        for may_log_in in (True, False):
            async with self._followed("GET", url, headers) as response:
                if response.status_code == wanted:
                    yield response.aiter_raw()
                    return
                if span and response.status_code == httpx.codes.OK:
                    raise self._away("it sends no parts of a blob")
                answer = await self._answer(response, MOST_TOKEN_BYTES)
            if answer.status != httpx.codes.UNAUTHORIZED or not may_log_in:
                raise self._refusal(answer)
            self._authorization = await self._log_in(answer.challenges)

    def _verified(self, body: bytes, expected: str, what: str) -> str:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if expected.startswith("sha256:") and expected != digest:
            raise InvalidInput(
                f"registry {self._host} sent a {what} of {self._reference.repository} "
                f"whose digest is {digest} instead of {expected}",
                pointer="/image",
                hint="The registry's storage, or a proxy before it, is damaged.",
            )
        return digest

    async def _read(self, path: str, limit: int, headers: Mapping[str, str]) -> "_Answer":
        """Get something of the repository."""
        answer = await self._ask("GET", path, limit, headers)
        if answer.status == httpx.codes.OK:
            return answer
        raise self._refusal(answer)

    async def _ask(
        self, method: str, path: str, limit: int, headers: Mapping[str, str]
    ) -> "_Answer":
        """Ask for something of the repository, logging in if the registry wants that."""
        url = self._base.copy_with(path=f"/v2/{self._reference.path}/{path}")
        try:
            async with asyncio.timeout(SECONDS_IN_ALL):
                answer = await self._follow(method, url, limit, headers)
                if answer.status == httpx.codes.UNAUTHORIZED:
                    self._authorization = await self._log_in(answer.challenges)
                    answer = await self._follow(method, url, limit, headers)
        except TimeoutError as error:
            raise self._away(f"no complete answer within {SECONDS_IN_ALL:g} s") from error
        return answer

    async def _follow(
        self, method: str, url: httpx.URL, limit: int, headers: Mapping[str, str]
    ) -> "_Answer":
        """Ask for a URL of the registry, and read what it answers."""
        async with self._followed(method, url, headers) as response:
            return await self._answer(response, limit)

    @asynccontextmanager
    async def _followed(
        self, method: str, url: httpx.URL, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """Ask for a URL of the registry, following its redirects without our credentials."""
        for _ in range(MOST_REDIRECTS + 1):
            sent = dict(headers)
            if self._authorization and _origin(url) == _origin(self._base):
                sent["authorization"] = self._authorization
            async with self._stream(url, sent, method) as response:
                if response.next_request is None:
                    yield response
                    return
                target = response.next_request.url
            if target.scheme not in {"https", url.scheme}:
                raise self._away(
                    f"it redirects from {url.scheme} to {target.scheme}, an unsafe way"
                )
            url = target
        raise self._away(f"it redirects more than {MOST_REDIRECTS} times")

    @asynccontextmanager
    async def _stream(
        self, url: httpx.URL, headers: Mapping[str, str], method: str = "GET"
    ) -> AsyncIterator[httpx.Response]:
        """Ask, and turn whatever the network does into words."""
        where = "" if _origin(url) == _origin(self._base) else f" ({url.host}, where it sent us)"
        try:
            async with self._http.stream(method, url, headers=headers) as response:
                yield response
        except httpx.TimeoutException as error:
            raise self._away(f"time-out{where}") from error
        except httpx.TransportError as error:
            raise self._unreached(error, where) from error

    async def _answer(self, response: httpx.Response, limit: int) -> "_Answer":
        body = bytearray()
        # Raw: a compressed answer would not have the digest, and could be a bomb.
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                raise InvalidInput(
                    f"registry {self._host} sent more than {limit} bytes where "
                    f"a manifest or configuration of {self._reference.repository} was expected",
                    pointer="/image",
                )
        return _Answer(response.status_code, bytes(body), response.headers)

    # --- logging in -----------------------------------------------------------------------------

    async def _log_in(self, challenges: list[Challenge]) -> str:
        """Return the Authorization header that the registry asks for."""
        offered = {each.scheme: each for each in reversed(challenges)}
        if "bearer" in offered:
            return f"Bearer {await self._token(offered['bearer'])}"
        if "basic" in offered and self._login:
            return self._basic(self._login)
        raise self._denied()

    async def _token(self, challenge: Challenge) -> str:
        realm = self._realm(challenge.parameters.get("realm", ""))
        scope = challenge.parameters.get("scope") or f"repository:{self._reference.path}:pull"
        query = {"scope": scope}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        headers = {"authorization": self._basic(self._login)} if self._login else {}
        async with self._stream(realm.copy_merge_params(query), headers) as response:
            answer = await self._answer(response, MOST_TOKEN_BYTES)
        if answer.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise self._denied()
        if answer.status != httpx.codes.OK:
            raise self._away(f"its token service {realm.host} answered {answer.status}")
        try:
            found = _Token.model_validate_json(answer.body)
        except ValidationError as error:
            raise self._away(f"its token service {realm.host} sent no token") from error
        token = found.token or found.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise self._away(f"its token service {realm.host} sent no usable token")
        return token

    def _realm(self, text: str) -> httpx.URL:
        """Return the token service's URL, if credentials may go there."""
        try:
            realm = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise self._away("it names no token service that could be asked") from error
        netloc = realm.netloc.decode("ascii", "replace")
        plain_allowed = self._plain and (
            realm.host == self._base.host or netloc in self._plain_hosts or is_loopback(realm.host)
        )
        if realm.host and (realm.scheme == "https" or (realm.scheme == "http" and plain_allowed)):
            return realm
        raise self._away(
            f"it wants credentials sent to {realm.scheme}://{realm.host}, which is not safe"
        )

    def _basic(self, login: RegistryLogin) -> str:
        auth = httpx.BasicAuth(login.username, login.password.get_secret_value())
        request = next(auth.auth_flow(httpx.Request("GET", self._base)))
        return request.headers["authorization"]

    # --- errors ---------------------------------------------------------------------------------

    def _refusal(self, answer: "_Answer") -> LongshoreError:
        match answer.status:
            case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
                return self._denied()
            case httpx.codes.NOT_FOUND:
                return InvalidInput(
                    f"registry {self._host} has no image {self._reference}{answer.words}",
                    pointer="/image",
                    hint=f"Push it first: docker push {self._reference}",
                )
            case httpx.codes.TOO_MANY_REQUESTS:
                return Unavailable(
                    f"registry {self._host} takes no more requests now{answer.words}",
                    hint=f"Try again later; a login may raise the limit: {self._login_hint}",
                )
            case status:
                return self._away(f"it answered {status}{answer.words}")

    def _denied(self) -> InvalidInput:
        why = "it refuses the login" if self._login else "it wants a login, or there is none such"
        return InvalidInput(
            f"registry {self._host} does not show {self._reference.repository}: {why}",
            pointer="/image",
            hint=f"In plugins.toml: {self._login_hint}",
        )

    @property
    def _login_hint(self) -> str:
        return f'[longshore.registries."{self._host}"] with username and password'

    def _unreached(self, error: httpx.TransportError, where: str) -> Unavailable:
        """Tell what the system said, which is deeper than what the client makes of it."""
        told: BaseException | None = error
        while told is not None:
            if isinstance(told, socket.gaierror):
                return self._away(
                    f"no address is found by its name ({told.strerror}){where}",
                    hint="Is it spelt right, and does the machine that asks know its name?",
                )
            if isinstance(told, ConnectionRefusedError):
                return self._away(f"connection refused{where}")
            told = told.__cause__ or told.__context__
        return self._away(f"{error or type(error).__name__}{where}")

    def _away(self, why: str, hint: str = "") -> Unavailable:
        if hint:
            return Unavailable(f"registry {self._host} does not answer: {why}", hint=hint)
        if "CERTIFICATE_VERIFY_FAILED" in why:
            hint = "If an authority of your own signed its certificate: SSL_CERT_FILE=authority.pem"
        else:
            hint = f"Is it running, and is {self._host} its right address?"
            if not self._plain:
                hint += (
                    " If it speaks plain HTTP, list it in plugins.toml: [longshore] "
                    f'insecure_registries = ["{self._host}"]'
                )
        return Unavailable(f"registry {self._host} does not answer: {why}", hint=hint)


class _Token(BaseModel):
    token: str = ""
    access_token: str = ""


class _Said(BaseModel):
    code: str = ""
    message: str = ""


class _Errors(BaseModel):
    errors: tuple[_Said, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def challenges(self) -> list[Challenge]:
        return read_challenges(self.headers.get_list("www-authenticate"))

    @property
    def words(self) -> str:
        """What the registry says is wrong, harmless to print; empty if it says nothing."""
        try:
            first = _Errors.model_validate_json(self.body).errors[0]
        except (ValidationError, IndexError):
            return ""
        text = (first.message or first.code)[:200]
        return f" ({''.join(each for each in text if each.isprintable())})" if text else ""


def _hostname(host: str) -> str:
    return httpx.URL(f"http://{host}").host


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
