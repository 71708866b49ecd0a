"""What an API answers to one request, whole: asked again where that can help, and never half.

The token goes to the server of the origin and to no other, and into no message; where a server
sends it back, nothing of the answer is used.
"""

from __future__ import annotations

import datetime
import email.utils
import http.client
import json
import random
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tunesmith import __version__
from tunesmith.core.errors import DataError
from tunesmith.stages.ingest.json_text import object_of
from tunesmith.stages.ingest.reach import Place, connect, joined, place_of

TRIES = 5
FIRST_WAIT_S = 1.0
"""Before the second try; twice that before the third, and so on."""
LONGEST_WAIT_S = 300.0
"""The longest that a server may ask to wait."""
SILENCE_S = 30.0
"""How long a server may say nothing."""
WHOLE_ANSWER_S = 600.0
MAX_ANSWER_BYTES = 64 << 20
MAX_REDIRECTS = 5
_AT_ONCE = 1 << 18
_PASSING = frozenset({429, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_JSON = re.compile(r"application/([a-z0-9.+-]+\+)?json")

Wait = Callable[[float, str], None]
"""wait(seconds, why)"""
Got = tuple[http.client.HTTPResponse, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of one request."""

    value: Any
    """JSON types."""
    links: str
    """Its Link headers, joined by commas."""


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Asks one API."""

    origin: Place
    hosts: tuple[str, ...]
    token: str = field(repr=False)
    """Empty for none."""
    wait: Wait
    _context: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    def ask(self, url: str) -> Answer:
        """The answer at `url`.

        Raises:
            DataError: it may not be reached, it does not answer, not with 200, or not with JSON.
        """
        try:
            return self._ask(url)
        except DataError as error:  # names of hosts and paths may be a server's words, too
            raise DataError(
                self._without_token(error.message), remedy=self._without_token(error.remedy)
            ) from None

    def _ask(self, url: str) -> Answer:
        """The answer, asked for until there is one."""
        place = self._place(url, "the next page")
        for tried in range(1, TRIES + 1):
            pause = FIRST_WAIT_S * 2 ** (tried - 1) * random.uniform(0.5, 1)  # noqa: S311
            try:
                response, body = self._follow(place, url)
            except ssl.SSLCertVerificationError as error:
                raise DataError(
                    f"{place.shown} has a certificate that is not believed: {error.verify_message}",
                    remedy="if an authority of your own signs it, name its file in SSL_CERT_FILE",
                ) from None
            except (OSError, http.client.HTTPException) as error:
                why = f"{type(error).__name__}: {error}".removesuffix(": ")
            else:
                if response.status not in _PASSING:
                    return self._read(place, response, body)
                why = f"{response.status} {response.reason}"
                asked = _retry_after(response.headers.get("Retry-After", ""))
                pause = pause if asked is None else asked
                if pause > LONGEST_WAIT_S:
                    raise DataError(
                        f"{place.shown} answers {self._clean(why)} and asks to wait {pause:.0f} s",
                        remedy="run the same command again then",
                    )
            if tried < TRIES:
                self.wait(pause, self._clean(why))
        raise DataError(
            f"{place.shown} did not answer, asked {TRIES} times; the last time: {self._clean(why)}",
            remedy="run the same command again when it is up; if it says 429, ask for less at "
            "once by a parameter of the origin",
        )

    def _follow(self, place: Place, url: str) -> Got:
        """What comes in the end of a request, past redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            response, body = self._get(place)
            if response.status not in _MOVED:
                return response, body
            url = joined(url, response.headers.get("Location", ""))
            further = self._place(url, f"what {place.shown} redirects to")
            if (place.scheme, further.scheme) == ("https", "http"):
                raise DataError(
                    f"{place.shown} redirects to http://, where anybody can listen",
                    remedy="write the address that is meant as the origin",
                )
            place = further
        raise DataError(
            f"{self.origin.shown} redirects more than {MAX_REDIRECTS} times",
            remedy="write the address that is meant as the origin",
        )

    def _get(self, place: Place) -> Got:
        """One request, and all of what is said to it."""
        line = http.client.HTTPConnection(place.host, place.port)
        if place.scheme == "https":
            line = http.client.HTTPSConnection(place.host, place.port, context=self._context)
        line.auto_open = 0  # it would look the name up again
        said = {
            "Accept": "application/json",
            "User-Agent": f"tunesmith/{__version__}",
            "Connection": "close",
        }
        if self.token and place.server == self.origin.server:
            said["Authorization"] = f"Bearer {self.token}"
        with connect(place, self.hosts, self._context, SILENCE_S) as line.sock:
            line.request("GET", place.target, headers=said)
            with line.getresponse() as response:
                return response, _whole_body(place, response)

    def _read(self, place: Place, response: http.client.HTTPResponse, body: bytes) -> Answer:
        """The JSON of an answer that came whole."""
        if response.status != 200:
            raise DataError(
                f"{place.shown} answers {response.status} {self._clean(response.reason)}",
                remedy=_remedy(response.status),
            )
        kind = response.headers.get_content_type()
        packed = response.headers.get("Content-Encoding", "identity").lower()
        if "Content-Type" not in response.headers or not _JSON.fullmatch(kind):
            raise DataError(
                f"{place.shown} answers with {self._clean(kind)}, not with application/json",
                remedy="a page for people is often one to log in on: check the address and "
                "`token_env`",
            )
        if packed != "identity":
            raise DataError(
                f"{place.shown} packs its answers ({self._clean(packed)}), which was not asked for",
                remedy="have the API answer plain",
            )
        try:
            value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=object_of)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"the answer of {place.shown} is no JSON: {self._clean(str(error))}",
                remedy="run the same command again; if it stays, the API is broken",
            ) from None
        answer = Answer(value=value, links=", ".join(response.headers.get_all("Link", [])))
        if self.token and any(
            json.dumps(self.token)[1:-1] in json.dumps(part, ensure_ascii=False)
            for part in (answer.value, answer.links)
        ):
            raise DataError(
                f"{place.shown} sends the token back in its answer, which would be stored",
                remedy="ask for an address, or for fields by a parameter, that leave it out",
            )
        return answer

    def _place(self, url: str, what: str) -> Place:
        try:
            return place_of(url)
        except ValueError as error:
            raise DataError(
                f"{what} cannot be asked for: {error}", remedy="find out why the API says so"
            ) from None

    def _clean(self, said: str) -> str:
        """What a server said, fit for a message: short, plain, and without the token."""
        return re.sub(r"[^\x20-\x7e]", "?", self._without_token(said))[:200]

    def _without_token(self, said: str) -> str:
        """The text without the token, in whatever case, as hosts are lower."""
        if not self.token:
            return said
        return re.sub(re.escape(self.token), "****", said, flags=re.IGNORECASE)


def _whole_body(place: Place, response: http.client.HTTPResponse) -> bytes:
    """All bytes of an answer.

    Raises:
        DataError: they are too many.
        IncompleteRead: they are fewer than it promised.
        TimeoutError: they trickle.
    """
    until = time.monotonic() + WHOLE_ANSWER_S
    promised = response.length  # http.client alone lets it pass when less comes
    parts: list[bytes] = []
    num_bytes = 0
    while part := response.read1(_AT_ONCE if promised is None else promised - num_bytes):
        parts.append(part)
        num_bytes += len(part)
        if num_bytes > MAX_ANSWER_BYTES:
            raise DataError(
                f"an answer of {place.shown} has more than {MAX_ANSWER_BYTES >> 20} MiB",
                remedy="ask for smaller pages by a parameter of the origin, such as ?per_page=100",
            )
        if time.monotonic() > until:
            raise TimeoutError(f"its answer was not done after {WHOLE_ANSWER_S:.0f} s")
    if promised is not None and num_bytes < promised:
        raise http.client.IncompleteRead(b"".join(parts), promised - num_bytes)
    return b"".join(parts)


def _retry_after(said: str) -> float | None:
    """Seconds to wait, of a number or a date; None where it says neither."""
    if said.strip().isdecimal():
        return float(said[:12])
    try:
        at = email.utils.parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return max(0.0, (at - datetime.datetime.now(datetime.UTC)).total_seconds())


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "name the environment variable that holds the token in `token_env`, and check that "\
            "the token may read this"  # fmt: skip
    if status == 404:
        return "check the address; of an API that says 404 after its last page, name the field "\
            "that says whether there are `more`"  # fmt: skip
    return "check the address and its parameters, or ask whoever runs the API"
