"""How a source's connections are made: by reference, patiently, and never locking an account."""

from __future__ import annotations

import logging
import os
import queue
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Engine, make_url

from workbench import credentials, oracle, postgresql, refusals
from workbench.credentials import Credentials
from workbench.errors import ConnectionFailed, CredentialsError, UsageError, fault_of
from workbench.settings import Source

log = logging.getLogger(__name__)
# What is different in each database: how to log in, describe and fetch.
DIALECTS: dict[str, ModuleType] = {"postgresql": postgresql, "oracle": oracle}
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two tries to connect


@dataclass(frozen=True)
class Target:
    """Where a source's server listens, as far as its configuration or its secret says."""

    host: str | None
    port: int | None
    service: str | None
    protocol: str = "tcp"


def open_engine(name: str, source: Source, *, insist: bool = False) -> Engine:
    """Make the engine of a source; it connects when it is used.

    The pool is SQLAlchemy's for both databases, not the driver's: a driver's pool logs in
    by itself, in the background, and with a wrong password as often as it likes. Here each
    login is one of ours. With `insist` also a secret is tried that was refused lately.
    """
    url = source_url(source)
    dialect = DIALECTS[url.get_backend_name()]
    pool = source.pool
    try:
        engine = sa.create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=pool.minimum,
            max_overflow=pool.maximum - pool.minimum,
            pool_timeout=pool.timeout,
            pool_recycle=int(pool.recycle),
        )
    except (exc.SQLAlchemyError, ImportError) as error:
        raise ConnectionFailed(f"The URL of the source cannot be used: {said(error)}") from None
    # The engine's URL never holds a login: it is given to the driver alone, each time anew.
    event.listen(engine, "do_connect", _Login(name, source, url, dialect, insist))
    if dialect is oracle:
        engine.dialect.identifier_preparer.reserved_words = {w.lower() for w in oracle.RESERVED}
        if source.read_only:
            event.listen(engine, "begin", oracle.begin_read_only)
    return engine


def source_url(source: Source) -> URL:
    """Give the URL of a source; for the embedded one that of its running server."""
    if source.kind == "embedded" and source.url is None:
        from workbench import embedded

        return embedded.connection_url()
    if source.kind == "dynamodb":
        raise UsageError(
            "A source of kind dynamodb is no database.",
            "The notebook document_pipeline reads it; a warehouse or another database goes here.",
        )
    return make_url(source.url or "oracle+oracledb://")


def target(source: Source, found: Credentials | None = None) -> Target:
    """Say where a source leads; raises ConnectionFailed where nothing says it."""
    url = source_url(source)
    address = found.address if found else credentials.Address()
    if url.get_backend_name() == "oracle":
        import oracledb

        directory = str(source.config_dir) if source.config_dir else None
        params = oracledb.ConnectParams(config_dir=directory)
        text = oracle.connect_string(url, source, address)
        try:
            params.parse_connect_string(text)
        except oracledb.Error as error:
            raise ConnectionFailed(
                f"The connect string {text!r} cannot be used: {said(error)}"
            ) from None
        first = {
            key: value[0] if isinstance(value, list) else value
            for key in ("host", "port", "service_name", "sid", "protocol")
            for value in (getattr(params, key),)
        }
        service = first["service_name"] or first["sid"]
        return Target(first["host"], first["port"], service, first["protocol"])
    return Target(
        url.host or address.host, url.port or address.port or 5432, url.database or address.dbname
    )


def session_label() -> str:
    """Say who is connected, for the server's lists of sessions: notebook and run."""
    notebook = os.environ.get("WORKBENCH_NOTEBOOK", "")
    run = os.environ.get("WORKBENCH_RUN_ID", "")
    return " ".join(part for part in ("workbench", notebook, run) if part)


def why(error: BaseException) -> str:
    """Say in plain words why there is no connection, with the code to search for."""
    fault = fault_of(error)
    return str(fault) if fault else said(error)


def said(error: BaseException) -> str:
    """Give the first line of what a driver said."""
    text = str(getattr(error, "orig", None) or error).split("(Background on this error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class _Login:
    """Makes the connections of one source: how often a secret was sent must be known."""

    def __init__(
        self, name: str, source: Source, url: URL, dialect: ModuleType, insist: bool
    ) -> None:
        self.name = name
        self.source = source
        self.url = url
        self.dialect = dialect
        self.insist = insist
        self._proven: SecretStr | None = None

    def __call__(self, _dialect: Any, _record: Any, _args: Any, _options: Any) -> Any:
        reference = self.source.credentials
        if not reference:
            return self._persist(None)
        tried: Credentials | None = None
        failure: Exception | None = None
        for again in (False, True):
            if again:
                log.warning("%s: the login is refused; reading %s again", self.name, reference)
            found = credentials.resolve(reference, fresh=again)
            if tried and (tried.username, tried.password) == (found.username, found.password):
                break
            try:
                return self._persist(found)
            except Exception as error:
                if not self._refused(error):
                    raise
                tried, failure = found, error
        assert failure is not None  # noqa: S101
        raise failure

    def _persist(self, found: Credentials | None) -> Any:
        """Connect, trying again while the server is only not ready yet."""
        from tenacity import (
            Retrying,
            retry_if_exception,
            stop_before_delay,
            wait_exponential_jitter,
        )  # fmt: skip

        def tell(state: Any) -> None:
            error = state.outcome.exception()
            log.warning(
                "%s does not answer yet (%s); attempt %d, next in %.1f s",
                self.name, why(error), state.attempt_number, state.next_action.sleep,
            )  # fmt: skip

        tries = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=wait_exponential_jitter(
                multiplier=FIRST_PAUSE, max=LONGEST_PAUSE, jitter=FIRST_PAUSE
            ),
            stop=stop_before_delay(self.source.retry_for),
            before_sleep=tell,
            reraise=True,
        )
        return tries(self._attempt, found)

    def _attempt(self, found: Credentials | None) -> Any:
        """Connect once, one at a time for each account until its secret has proven good."""
        if found is None or found.password == self._proven:
            return self._in_time(found)
        account = self._account(found)
        with refusals.turn(account):
            since = None if self.insist else refusals.recall(account, found.password)
            if since is not None:
                reference = self.source.credentials
                raise CredentialsError(
                    f"The login of source {self.name!r} was refused {since} ago with the same "
                    "secret; it is not tried again, so that the account is not locked.",
                    f"Mend what {reference} refers to. `workbench doctor {self.name}` tries it "
                    "once more; a changed secret is tried at once.",
                )
            connection = self._in_time(found)
            refusals.forget(account, found.password)
        self._proven = found.password
        return connection

    def _in_time(self, found: Credentials | None) -> Any:
        """Connect within the source's limit: a server may accept and then say nothing."""
        outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()
        abandoned = threading.Event()

        def connect() -> None:
            try:
                connection = self.dialect.login(self.url, self.source, found, session_label())
            except BaseException as error:
                # Before anything else can fail, and also when nobody waits any more.
                if found and self._refused(error):
                    refusals.remember(self._account(found), found.password)
                outcome.put(error)
                return
            outcome.put(connection)
            if abandoned.is_set():
                connection.close()

        threading.Thread(target=connect, name="login", daemon=True).start()
        try:
            result = outcome.get(timeout=self.source.connect_timeout + 1)
        except BaseException as error:
            # Also by Ctrl-C: what arrives now is nobody's, and closed.
            abandoned.set()
            if not outcome.empty() and not isinstance(last := outcome.get(), BaseException):
                last.close()
            if not isinstance(error, queue.Empty):
                raise
            result = ConnectionFailed(
                f"Source {self.name!r} accepts connections, but its server says nothing for "
                f"{self.source.connect_timeout:g} s.",
                "Ask who runs it whether it hangs; connect_timeout is how long is waited.",
            )
        if isinstance(result, BaseException):
            # The driver's own frames hold the password.
            raise result.with_traceback(None)
        return result

    def _account(self, found: Credentials) -> refusals.Account:
        return refusals.Account(self.url.render_as_string(), self.source.dsn, found.username)

    def _refused(self, error: BaseException) -> bool:
        fault = fault_of(error)
        if fault is not None:
            return fault.login
        # Whatever it says: it was said when the secret had been sent.
        return isinstance(error, CredentialsError) or self.dialect.has_sent_secret(error)

    def _may_pass(self, error: BaseException) -> bool:
        fault = fault_of(error)
        return fault is not None and fault.retry and not self.dialect.has_sent_secret(error)
