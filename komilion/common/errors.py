"""Every error that a caller can see, as one tree; the class is the whole answer.

    KomilionError                     500 api_error              internal_error
    +- BadRequest                     400 invalid_request_error  invalid_request
    |  +- UnknownModel                400                        unknown_model
    |  |  +- ModelNotServed           400                        model_not_served
    |  +- ContextLengthExceeded       400                        context_length_exceeded
    |  +- ContentFiltered             400                        content_filter
    |  +- InvalidAudio                400                        invalid_audio
    |     +- EmptyAudio               400                        empty_audio
    |     +- NoAudioTrack             400                        no_audio_track
    |     +- AudioTooLong             400                        audio_too_long
    |     +- AudioTooCostly           400                        audio_too_costly
    |  +- UrlRefused                  400                        url_refused
    |  +- UrlUnreachable              400                        url_unreachable
    +- Unauthenticated                401 authentication_error   invalid_api_key
    +- InsufficientBalance            402 billing_error          insufficient_balance
    |  +- KeyCapReached               402                        key_cap_reached
    +- Forbidden                      403 permission_error       forbidden
    |  +- Suspended                   403                        organization_suspended
    |  +- ModelNotAllowed             403                        model_not_allowed
    +- NotFound                       404 not_found_error        not_found
    |  +- ModelNotFound               404                        model_not_found
    |  +- ModelRetired                404                        model_retired
    +- MethodNotAllowed               405 invalid_request_error  method_not_allowed
    +- NotAcceptable                  406 invalid_request_error  not_acceptable
    +- RequestTimeout                 408 timeout_error          request_timeout
    |  +- SessionExpired              408                        session_expired
    |  +- SessionIdle                 408                        session_idle
    +- Conflict                       409 conflict_error         conflict
    |  +- IdempotencyInProgress       409                        idempotency_in_progress
    |  +- IdempotencyNotKept          409                        idempotency_not_kept
    +- PayloadTooLarge                413 invalid_request_error  payload_too_large
    +- UnsupportedMediaType           415 invalid_request_error  unsupported_media_type
    |  +- UnsupportedAudio            415                        unsupported_audio
    +- Unprocessable                  422 invalid_request_error  invalid_fields
    |  +- IdempotencyMismatch         422                        idempotency_mismatch
    +- RateLimited                    429 rate_limit_error       rate_limited
    |  +- TooManyParallel             429                        too_many_parallel_requests
    +- InternalError                  500 api_error              internal_error
    +- ProviderError                  502 provider_error         provider_error
    |  +- ProviderRefusedUs           502                        provider_rejected_credentials
    |  +- AnswerTooLarge              502                        answer_too_large
    +- Unavailable                    503 service_unavailable    unavailable
       +- ServerStopped               503                        server_stopped
       +- LedgerUnavailable           503                        ledger_unavailable
       +- PaymentsOff                 503                        payments_unavailable
       +- StorageFull                 503                        storage_full
       +- ProviderUnavailable         503                        provider_unavailable
       |  +- ProviderClosedToUs       503                        provider_unavailable
       +- ProviderTimeout             503                        provider_timeout

`reason` is the stable name that programs may switch on; the message is for people. An error is raised near its cause
and becomes JSON in exactly one place, `render`, in the dialect of the path it answers.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson


class KomilionError(Exception):
    """Base of all; `param` names the request field at fault, `headers` ride on the answer."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    reason: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong on our side. The request was not charged."

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.param = param
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        super().__init__(self.message)


class BadRequest(KomilionError):
    status = 400
    type = "invalid_request_error"
    reason = "invalid_request"
    default_message = "The request is not valid."


class UnknownModel(BadRequest):
    reason = "unknown_model"
    default_message = "There is no such model."


class ModelNotServed(UnknownModel):
    reason = "model_not_served"
    default_message = "This installation has no key for a provider of that model."


class ContextLengthExceeded(BadRequest):
    reason = "context_length_exceeded"
    default_message = "The request is longer than the model's context window."


class ContentFiltered(BadRequest):
    reason = "content_filter"
    default_message = "The provider refused the prompt by its content rules."


class InvalidAudio(BadRequest):
    reason = "invalid_audio"
    default_message = "The audio is damaged: it cannot be decoded."


class EmptyAudio(InvalidAudio):
    reason = "empty_audio"
    default_message = "The audio file is empty."


class NoAudioTrack(InvalidAudio):
    reason = "no_audio_track"
    default_message = "The file has no audio in it."


class AudioTooLong(InvalidAudio):
    reason = "audio_too_long"
    default_message = "The audio is too long."


class AudioTooCostly(InvalidAudio):
    reason = "audio_too_costly"
    default_message = "Decoding the audio takes more memory or time than a file may use."


class UrlRefused(BadRequest):
    reason = "url_refused"
    default_message = "That URL is not called."


class UrlUnreachable(BadRequest):
    reason = "url_unreachable"
    default_message = "What the URL leads to could not be fetched."


class Unauthenticated(KomilionError):
    status = 401
    type = "authentication_error"
    reason = "invalid_api_key"
    default_message = "The API key is missing, unknown, expired or revoked."


class InsufficientBalance(KomilionError):
    status = 402
    type = "billing_error"
    reason = "insufficient_balance"
    default_message = "The wallet does not cover this request. Top it up and try again."

    def __init__(self, message: str | None = None, *, needed_nano: int = 0, cap: tuple[int, str] | None = None) -> None:
        """`cap` is the one that leaves too little: its key's id and its period."""
        super().__init__(message)
        self.needed_nano = needed_nano
        self.cap = cap


class KeyCapReached(InsufficientBalance):
    reason = "key_cap_reached"
    default_message = "A cap of this key does not leave enough for this request."


class Forbidden(KomilionError):
    status = 403
    type = "permission_error"
    reason = "forbidden"
    default_message = "This key may not do that."


class Suspended(Forbidden):
    reason = "organization_suspended"
    default_message = "The organization is suspended."


class ModelNotAllowed(Forbidden):
    reason = "model_not_allowed"
    default_message = "This key may not call that model."


class NotFound(KomilionError):
    status = 404
    type = "not_found_error"
    reason = "not_found"
    default_message = "There is nothing at this address."


class ModelNotFound(NotFound):
    reason = "model_not_found"
    default_message = "There is no such model."


class ModelRetired(NotFound):
    reason = "model_retired"
    default_message = "That model is retired."


class MethodNotAllowed(KomilionError):
    status = 405
    type = "invalid_request_error"
    reason = "method_not_allowed"
    default_message = "This address does not take that method."


class NotAcceptable(KomilionError):
    status = 406
    type = "invalid_request_error"
    reason = "not_acceptable"
    default_message = "The answer is JSON, which the request's Accept header refuses."


class RequestTimeout(KomilionError):
    status = 408
    type = "timeout_error"
    reason = "request_timeout"
    default_message = "The request took too long."


class SessionExpired(RequestTimeout):
    reason = "session_expired"
    default_message = "A voice session lasts an hour at most; open another one to go on."


class SessionIdle(RequestTimeout):
    reason = "session_idle"
    default_message = "Nothing was heard from the client for too long, so the voice session has ended."


class Conflict(KomilionError):
    status = 409
    type = "conflict_error"
    reason = "conflict"
    default_message = "The request conflicts with another one."


class IdempotencyInProgress(Conflict):
    reason = "idempotency_in_progress"
    default_message = "The first call with this Idempotency-Key is still running; ask again in a second."


class IdempotencyNotKept(Conflict):
    reason = "idempotency_not_kept"
    default_message = (
        "The call with this Idempotency-Key was made and charged, but its answer is not kept (any more):"
        " it was too large, or too long ago. Use another key to make the call again."
    )


class PayloadTooLarge(KomilionError):
    status = 413
    type = "invalid_request_error"
    reason = "payload_too_large"
    default_message = "The request body is too large."


class UnsupportedMediaType(KomilionError):
    status = 415
    type = "invalid_request_error"
    reason = "unsupported_media_type"
    default_message = "The request body must be application/json."


class UnsupportedAudio(UnsupportedMediaType):
    reason = "unsupported_audio"
    default_message = (
        "This is no audio or video file that can be read. Send mp3, m4a or mp4, wav, flac, ogg or opus, webm, aac, amr,"
        " aiff or wma."
    )


class Unprocessable(KomilionError):
    status = 422
    type = "invalid_request_error"
    reason = "invalid_fields"
    default_message = "A field of the request is not valid."


class IdempotencyMismatch(Unprocessable):
    reason = "idempotency_mismatch"
    default_message = "This Idempotency-Key was used for another request; use another key for this one."


class RateLimited(KomilionError):
    status = 429
    type = "rate_limit_error"
    reason = "rate_limited"
    default_message = "Too many requests."


class TooManyParallel(RateLimited):
    reason = "too_many_parallel_requests"
    default_message = "Too many requests at the same time."


class InternalError(KomilionError):
    pass


class ProviderError(KomilionError):
    status = 502
    type = "provider_error"
    reason = "provider_error"
    default_message = "The provider failed to answer."


class ProviderRefusedUs(ProviderError):
    reason = "provider_rejected_credentials"
    default_message = "The provider rejected this gateway's credentials; the operator has been told."


class AnswerTooLarge(ProviderError):
    reason = "answer_too_large"
    default_message = (
        "The provider's answer is too large to be taken in one piece. Stream it, or ask for less of it by `max_tokens`,"
        " `top_logprobs` or `n`."
    )


class Unavailable(KomilionError):
    status = 503
    type = "service_unavailable"
    reason = "unavailable"
    default_message = "The service is not available right now."


class ServerStopped(Unavailable):
    reason = "server_stopped"
    default_message = "The server is being restarted. Open another session."


class LedgerUnavailable(Unavailable):
    reason = "ledger_unavailable"
    default_message = "The ledger cannot be reached, so nothing can be charged or served right now."


class PaymentsOff(Unavailable):
    reason = "payments_unavailable"
    default_message = "Paying is not possible right now."


class StorageFull(Unavailable):
    reason = "storage_full"
    default_message = "There is no room for this file right now. Nothing of it was kept."


class ProviderUnavailable(Unavailable):
    reason = "provider_unavailable"
    default_message = "No provider can serve this model right now."


class ProviderClosedToUs(ProviderUnavailable):
    """Our money or quota there is gone, or our account: it stays so until the operator does something."""


class ProviderTimeout(Unavailable):
    reason = "provider_timeout"
    default_message = "The provider did not answer in time."


OPENAI_CODES = {
    "unknown_model": "model_not_found",
    "model_not_served": "model_not_found",
    "rate_limited": "rate_limit_exceeded",
}


def error_body(error: KomilionError, path: str) -> dict[str, Any]:
    """The error as a JSON object in the dialect of `path`: numeric `code` under `/api/`, OpenAI's shape elsewhere."""
    if f"{path}/".startswith("/api/"):
        inner: dict[str, Any] = {
            "message": error.message,
            "type": error.type,
            "code": error.status,
            "reason": error.reason,
        }
        if error.param is not None:
            inner["param"] = error.param
    else:
        inner = {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": OPENAI_CODES.get(error.reason, error.reason),
            "reason": error.reason,
        }
    return {"error": inner, **error.extra}


def render(error: KomilionError, path: str) -> bytes:
    """`error_body` as bytes, ready to be sent."""
    return orjson.dumps(error_body(error, path))
