"""What went wrong with a request, in the envelope that OpenAI's clients read."""

from __future__ import annotations

from starlette.responses import JSONResponse

_TYPES = {429: "rate_limit_error", 403: "permission_error"}


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, dict[str, str | None]]:
        """{"error": {"message", "type", "param", "code"}}"""
        kind = "api_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The HTTP response."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def internal() -> Problem:
    """What is said of a fault of ours: that there was one, and nothing about the inside."""
    return Problem(500, "the service failed; its log has the reason under this request's id")
