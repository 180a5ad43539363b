"""What a failing store means: may it pass, or not. The one place that decides, for every store and library.

Messages of libraries are never passed on as they are: they may quote signed URLs and request headers.
"""

from __future__ import annotations

import contextlib
import errno
from http import HTTPStatus
from typing import NoReturn

from mdfp.errors import MdfpError
from mdfp.urls import redacted


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PASSING_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 509})
"""HTTP answers that another attempt may not get. 409 is what S3 says while another conditional write is under way."""

PASSING_CODES = _words(
    "SlowDown SlowDownRead SlowDownWrite Throttling ThrottlingException RequestThrottled TooManyRequests InternalError "
    "ServiceUnavailable RequestTimeout RequestTimeTooSlow BadDigest IncompleteBody XAmzContentSHA256Mismatch "
    "ConditionalRequestConflict OperationAborted OperationTimedOut ServerBusy rateLimitExceeded backendError"
)
"""Codes of S3, GCS and Azure that say the same, some under HTTP status 400."""

PASSING_TYPES = _words(
    "TimeoutError FSTimeoutError ServerTimeoutError HTTPClientError ConnectionError ConnectionClosedError "
    "EndpointConnectionError ConnectTimeoutError ReadTimeoutError ResponseStreamingError IncompleteReadError IncompleteRead "
    "ResponseParserError ClientPayloadError ClientConnectionError ClientOSError ServerDisconnectedError ClientConnectorError "
    "TransportError ServiceRequestError ServiceResponseError IncompleteReadError ChunkedEncodingError ProxyError "
    "AioHttpIncompleteReadError ContentLengthError TransferEncodingError"
)
"""Exceptions of botocore, aiohttp, requests, google-auth and azure-core, by name: none of them needs to be installed."""

CREDENTIAL_TYPES = _words(
    "NoCredentialsError PartialCredentialsError CredentialRetrievalError ProfileNotFound TokenRetrievalError "
    "UnauthorizedSSOTokenError DefaultCredentialsError RefreshError MalformedError ClientAuthenticationError "
    "CredentialUnavailableError"
)

PERMANENT_ERRNO = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSYS, errno.EROFS, errno.ELOOP, errno.EMSGSIZE})
"""What a local disk says that does not pass by waiting. A full disk may: others free it."""


class StoreError(MdfpError, OSError):
    """A store refuses, and will again."""


class TransientStoreError(StoreError):
    """A store fails in a way that may pass: throttled, timed out, an answer cut short."""


class ChangedError(StoreError):
    """The object is not of the version that was asked for."""


def may_pass(error: OSError) -> bool:
    """Whether another attempt may succeed where this one did not."""
    if isinstance(error, StoreError):
        return isinstance(error, TransientStoreError)
    if isinstance(error, (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return False
    return error.errno not in PERMANENT_ERRNO


def of_status(status: int, code: str, where: str) -> OSError:
    """The error that an answer of a store is.

    Args:
        status: HTTP status.
        code: the store's own code, or an empty string.
        where: URL of the object, for a person.
    """
    said = f"the store answered {status}{f' {code}' if code and not code.isdecimal() else ''}"
    with contextlib.suppress(ValueError):
        said += f" ({HTTPStatus(status).phrase})"
    where = redacted(where)
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return StoreError(f"{where}: there is no such bucket; create it, or correct the URL")
    if status in PASSING_STATUS or code in PASSING_CODES:
        return TransientStoreError(f"{where}: {said}")
    if status == HTTPStatus.NOT_FOUND:
        return FileNotFoundError(errno.ENOENT, "there is no such object", where)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return StoreError(
            f"{where}: {said}. Allow reading and listing to the credentials in use, or give others by the environment or a "
            "profile; a public bucket needs access: {anonymous: true}, one that bills its readers {requester_pays: true} "
            "(docs/stores.md)"
        )
    if status in (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT):
        return StoreError(f"{where}: {said}: the bucket lies in another region; set AWS_REGION or AWS_ENDPOINT_URL")
    return StoreError(f"{where}: {said}")


def raise_as_ours(error: BaseException, where: str) -> NoReturn:
    """Raise what a library's exception means; one that means nothing to us is a bug, and raised as it is.

    Raises:
        OSError: always, for what is known.
    """
    if isinstance(error, (StoreError, FileNotFoundError, FileExistsError)):
        raise error
    translated = _translated(error, where)
    if translated is None:
        raise error
    # The library's own text stays out of logs where it may quote more than a name.
    text = f"{error!r}"
    raise translated from (error if redacted(text) == text and "://" not in text else None)


def _translated(error: BaseException, where: str) -> OSError | None:
    names = {c.__name__ for c in type(error).__mro__}
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:  # botocore.exceptions.ClientError
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(response["Error"].get("Code", ""))
        return of_status(status or (int(code) if code.isdecimal() else 0), code, where)
    for attribute in ("status", "status_code", "code"):  # aiohttp, azure-core, gcsfs
        answer = getattr(error, attribute, None)
        if isinstance(answer, int) and answer >= 300:
            return of_status(answer, str(getattr(error, "error_code", "") or ""), where)
    where = redacted(where)
    kind = type(error).__name__
    if names & CREDENTIAL_TYPES:
        return StoreError(
            f"{where}: no usable credentials were found ({kind}); give them by the environment or a profile, or enter a "
            "public bucket with access: {anonymous: true} (docs/stores.md)"
        )
    if names & PASSING_TYPES:
        return TransientStoreError(f"{where}: no complete answer from the store ({kind})")
    if names & {"BotoCoreError", "ClientError", "AzureError", "GoogleAuthError", "InvalidURL"}:
        return StoreError(f"{where}: the store's library refuses ({kind}: {redacted(str(error))})")
    return error if isinstance(error, OSError) else None
