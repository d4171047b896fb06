"""Whether a source would work, and if not, what to do: each step of connecting, checked alone."""

from __future__ import annotations

import os
import platform
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import methodcaller
from statistics import median
from typing import Any

import sqlalchemy as sa
from dotenv import dotenv_values

from workbench import connections, credentials, redaction
from workbench.errors import ConnectionFailed, WorkbenchError, fault_of, nearest
from workbench.reporting.text import inert
from workbench.settings import Source, config_path, load_settings, project_folder

CLOCK_LIMIT = 2  # seconds
CERTIFICATE_LIMIT = 14  # days
# What reflection and profiles read, then what is only nice to have (Database Reference 19c;
# PostgreSQL 18, chapters 35, 52 and 53).
VIEWS = {
    "oracle": (
        "ALL_TABLES ALL_VIEWS ALL_TAB_COLUMNS ALL_TAB_COL_STATISTICS ALL_TAB_COMMENTS"
        " ALL_COL_COMMENTS ALL_CONSTRAINTS ALL_CONS_COLUMNS ALL_INDEXES ALL_IND_COLUMNS".split(),
        "DBA_TABLES DBA_TAB_COL_STATISTICS V$SESSION".split(),
    ),
    "postgresql": (
        "information_schema.tables information_schema.columns information_schema.table_constraints"
        " pg_class pg_attribute pg_index pg_description pg_stats".split(),
        "pg_statistic pg_stat_statements".split(),
    ),
}
# On Oracle system privileges only (SQL Language Reference 19c, GRANT), not those on single tables.
WRITING = {
    "oracle": "SELECT privilege FROM session_privs WHERE privilege IN ('INSERT ANY TABLE',"
    " 'UPDATE ANY TABLE', 'DELETE ANY TABLE', 'DROP ANY TABLE', 'ALTER ANY TABLE',"
    " 'CREATE ANY TABLE', 'CREATE TABLE') ORDER BY privilege",
    "postgresql": "SELECT DISTINCT p FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace,"
    " unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p"
    " WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema')"
    " AND has_table_privilege(c.oid, p) ORDER BY p",
}
CLOCK = {
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
}
ZONES = {
    "oracle": "SELECT 'database ' || DBTIMEZONE || ', session ' || SESSIONTIMEZONE FROM DUAL",
    "postgresql": "SELECT 'session ' || current_setting('TimeZone')",
}
# Database Reference 19c. A banner reads "AES256 Encryption service adapter for Linux: …" where a
# cipher is at work, and names none where encryption is only installed.
BANNERS = (
    "SELECT network_service_banner FROM v$session_connect_info"
    " WHERE sid = SYS_CONTEXT('USERENV', 'SID')"
)
TLS_SESSION = "SELECT version || ', ' || cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

# ok, what was found, what to do
Found = tuple[bool | None, str] | tuple[bool | None, str, str | None]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `ok` is None where it does not apply or was not reached.

    One that is ok and has a `fix` all the same is a warning. No text of it holds a control
    character or a known secret, wherever it came from.
    """

    name: str
    ok: bool | None
    found: str
    fix: str | None = None

    def __post_init__(self) -> None:
        for key in ("found", "fix"):
            if text := getattr(self, key):
                clean = " ".join(redaction.known.scrub(inert(text)).split())
                object.__setattr__(self, key, clean)

    @property
    def mark(self) -> str:
        """Show the outcome as one sign: ✓, ✗, ! or –."""
        if self.ok is None:
            return "–"
        return "✗" if not self.ok else "!" if self.fix else "✓"


def examine(name: str, *, timeout: float = 10, insist: bool = True) -> list[Check]:
    """Check all that the source `name` needs, in the order in which connecting needs it.

    `timeout` is in seconds, for each step. There is one login at most, and none with a secret
    that was refused lately unless `insist` is true. What fails is a check that says so; nothing
    is raised.
    """
    checks: list[Check] = []
    stopper = ""
    with ExitStack() as stack:
        visit = _Visit(name, timeout, insist, stack)
        for step in STEPS:
            title, failed = step.replace("_", " "), bool(checks) and checks[-1].ok is False
            if without := stopper or ("network" if step == "tls" and failed else ""):
                checks.append(Check(title, None, f"not checked without {without}"))
                continue
            checks.append(_look(title, getattr(visit, step)))
            if visit.source.kind == "dynamodb":
                return [*checks, *_examine_dynamodb(name, visit.source.role, timeout)]
            if step == "login" and checks[-1].ok:
                # The driver knows more ways than the one that was tried: other addresses, a proxy.
                checks = [replace(check, ok=None if check.ok is None else True) for check in checks]
            needed = visit.connection is None and step not in ("network", "tls")
            if visit.is_lost() or (needed and checks[-1].ok is False):
                stopper = title
    return checks


def _examine_dynamodb(name: str, role: str | None, timeout: float) -> list[Check]:
    from botocore.session import get_session

    from workbench.documents.scanning import ask, opened
    from workbench.documents.targets import SOURCES

    once = {"connect_timeout": timeout, "read_timeout": timeout,
            "retries": {"total_max_attempts": 1}}  # fmt: skip

    def own() -> Found:
        found = ask(get_session(), f"source {name}", lambda session: session.get_credentials())
        fix = "Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in (aws sso login)."
        return (True, f"found by {found.method}") if found else (False, "no AWS credentials", fix)

    def assumed() -> Found:
        if not role:
            return None, "none is named: the tables are in the same account"
        with opened(name, **once):
            return True, f"{role} is assumed"

    def tables() -> Found:
        with opened(name, **once) as (client, prefix):
            items = 0
            for table in (prefix + table for table in SOURCES.values()):
                described = methodcaller("describe_table", TableName=table)
                found = ask(client, f"table {table}", described)
                items += found["Table"]["ItemCount"]
        return True, f"{len(SOURCES)} tables, about {items:,} items"

    checks: list[Check] = []
    for title, step in {"credentials": own, "role": assumed, "tables": tables}.items():
        if without := next((check.name for check in checks if check.ok is False), ""):
            checks.append(Check(title, None, f"not checked without {without}"))
        else:
            checks.append(_look(title, step))
    return checks


def examine_machine() -> list[Check]:
    """Check what this machine has to bring: Python, sample data, reports, kernels."""
    from workbench import embedded
    from workbench.running import kernels

    def reports() -> Found:
        folder = project_folder() / load_settings().reports
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        tempfile.TemporaryFile(dir=existing).close()
        return True, f"{folder} can be written to"

    def sample_data() -> Found:
        embedded.connection_url()
        return True, f"PostgreSQL {embedded.MAJOR} runs"

    refusal = kernels.unavailable()
    return [
        _look("python", lambda: (True, f"{platform.python_version()} on {sys.platform}")),
        _look("sample data", sample_data),
        _look("reports", reports),
        _look("warm kernels", lambda: (None if refusal else True, refusal or "available")),
    ]


def _look(name: str, step: Callable[[], Found]) -> Check:
    try:
        return Check(name, *step())
    except WorkbenchError as error:
        return Check(name, False, error.message, error.hint or "Correct what the message names.")
    except Exception as error:  # whatever it is, and each driver has errors of its own
        fault, said = fault_of(error), connections.said(error)
        if not fault:
            return Check(name, False, said, "Look the message up, or ask the administrator.")
        return Check(name, False, f"{fault.meaning} ({said})", fault.fix)


class _Visit:
    """What is known of a source so far, and the steps that find out more."""

    def __init__(self, name: str, timeout: float, insist: bool, stack: ExitStack) -> None:
        self.name, self.timeout, self.insist, self.stack = name, timeout, insist, stack
        self.source = Source(kind="embedded")
        self.found: credentials.Credentials | None = None
        self.connection: Any = None
        self.target = connections.Target("?", None, None)

    def is_lost(self) -> bool:
        return self.connection is not None and self.connection.invalidated

    def ask(self, statement: str) -> list[Any]:
        """Give the first column, from a transaction of its own; never logs in again."""
        if self.is_lost():
            raise ConnectionFailed("The connection was lost.", "Try again with a longer --timeout.")
        try:
            return [row[0] for row in self.connection.exec_driver_sql(statement)]
        finally:
            if not self.is_lost():
                self.connection.rollback()

    def configuration(self) -> Found:
        config = config_path()
        limits = {"connect_timeout": self.timeout, "call_timeout": self.timeout, "retry_for": 0}
        self.source = load_settings().source(self.name).model_copy(update=limits)
        place = f"{config.name} in {config.parent}" if config else "no workbench.toml"
        prefix = f"WORKBENCH_SOURCES__{self.name}__".upper()
        names = {**dotenv_values(project_folder() / ".env", interpolate=False), **os.environ}
        changed = sorted(name.upper() for name in names if name.upper().startswith(prefix))
        return True, place + (f"; overridden by {', '.join(changed)}" if changed else "")

    def credentials(self) -> Found:
        reference = self.source.credentials
        if not reference:
            return None, "none: what the driver finds by itself"
        self.found = credentials.resolve(reference)
        return True, f"found by {reference}"

    def network(self) -> Found:
        self.target = target = connections.target(self.source, self.found)
        if not target.host or target.host.startswith("/"):
            return None, "a local socket, or what the driver chooses"
        started = time.perf_counter()
        known = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        resolved = time.perf_counter()
        with socket.create_connection((target.host, target.port or 0), self.timeout) as connected:
            ended, address = time.perf_counter(), connected.getpeername()[0]
        more = f" and {len(known) - 1} more" if len(known) > 1 else ""
        times = f"name {_ms(resolved - started)}, connection {_ms(ended - resolved)}"
        return True, f"{target.host}:{target.port} is {address}{more} ({times})"

    def tls(self) -> Found:
        target, wallet = self.target, self.source.wallet_location
        if target.protocol != "tcps":
            return None, "the protocol is not tcps"
        if self.source.thick:
            return None, "left to the Oracle Client and its wallet"
        pem = wallet / "ewallet.pem" if wallet else None
        if pem and not pem.is_file():
            fix = "Thin mode reads ewallet.pem, not cwallet.sso: export it, or correct the folder."
            return False, f"wallet_location holds no {pem.name}", fix
        # As the driver does it in thin mode; it compares the names itself, at the login.
        context = ssl.create_default_context(cafile=pem)
        context.check_hostname = False
        if pem:
            word = self.found.wallet_password if self.found else None
            with suppress(ssl.SSLError):  # a wallet without a certificate of our own
                context.load_cert_chain(pem, password=word.get_secret_value() if word else "")
        address = (target.host, target.port)
        with (
            socket.create_connection(address, self.timeout) as plain,
            context.wrap_socket(plain, server_hostname=target.host) as secure,
        ):
            certificate: Any = secure.getpeercert()
            version = secure.version()
        subject = dict(pair for part in certificate["subject"] for pair in part)
        until = ssl.cert_time_to_seconds(certificate["notAfter"])
        found = f"{version}, {subject.get('commonName')}, until {datetime.fromtimestamp(until):%F}"
        soon = until - time.time() < CERTIFICATE_LIMIT * 86400
        return True, found, "Have the certificate renewed." if soon else None

    def login(self) -> Found:
        engine = connections.open_engine(self.name, self.source, insist=self.insist)
        self.stack.callback(engine.dispose)
        started = time.perf_counter()
        self.connection = self.stack.enter_context(engine.connect())
        self.dialect: Any = engine.dialect
        self.driver: Any = self.connection.connection.driver_connection
        return True, f"one login, {_ms(time.perf_counter() - started)}"

    def encryption(self) -> Found:
        if self.dialect.name == "postgresql":
            how = next(iter(self.ask(TLS_SESSION)), None)
            fix = "Add ?sslmode=verify-full to the URL, if the server offers TLS."
        elif self.target.protocol == "tcps":
            return True, "TLS"
        else:
            try:
                banners = "\n".join(self.ask(BANNERS))
            except sa.exc.SQLAlchemyError:
                return None, "unknown: V$SESSION_CONNECT_INFO cannot be read"
            cipher = re.search(r"^(\w+) Encryption service adapter", banners, re.MULTILINE)
            how = cipher and f"native, {cipher[1]}"
            fix = "Use TCPS (?protocol=tcps), or have the server require native encryption."
        if how:
            return True, how
        if re.match(r"localhost$|127\.|::1$|/|$", self.target.host or ""):
            return True, "none, and the server is this machine"
        return True, "none: what is read can be seen on the way", fix

    def read_only(self) -> Found:
        if not self.source.read_only:
            return None, "the source says read_only = false"
        if self.dialect.name == "oracle":
            # Oracle has no way to ask, and to try it would mean to write.
            return True, "each transaction begins with SET TRANSACTION READ ONLY"
        [state] = self.ask("SHOW transaction_read_only")
        fix = "Do not rely on read_only here: use an account without grants."
        return state == "on", f"transaction_read_only is {state}", None if state == "on" else fix

    def schema(self) -> Found:
        name = self.source.schema_ or (self.found and self.found.address.schema)
        if not name:
            return None, "none is given: the account's own"
        with self.connection.begin():
            names = sa.inspect(self.connection).get_schema_names()
        if name.lower() in map(str.lower, names):
            return True, name
        fix = f"Correct the source's schema; there are {', '.join(sorted(names)[:10])}."
        return False, f"There is no schema {name!r}.{nearest(name, names)}", fix

    def dictionary(self) -> Found:
        def readable(view: str) -> bool:
            try:
                self.ask(f"SELECT 1 FROM {view} WHERE 1 = 0")  # noqa: S608
            except sa.exc.DBAPIError:
                return False
            return True

        needed, wanted = VIEWS[self.dialect.name]
        missing = [view for view in needed if not readable(view)]
        extra = ", ".join(view for view in wanted if readable(view))
        found = f"{len(needed) - len(missing)} of {len(needed)} views can be read"
        fix = f"Ask for SELECT on {', '.join(missing)}." if missing else None
        return True, found + (f", also {extra}" if extra else ""), fix

    def writing(self) -> Found:
        if not self.source.read_only or self.source.kind == "embedded":
            return None, "the account may write here"
        if held := self.ask(WRITING[self.dialect.name]):
            fix = "Use an account that may only SELECT: read_only guards against slips alone."
            return True, f"the account has {', '.join(held)}", fix
        return True, "no right to write was found"

    def clock(self) -> Found:
        before = datetime.now(UTC)
        [theirs] = self.ask(CLOCK[self.dialect.name])
        ours = before + (datetime.now(UTC) - before) / 2
        ahead = (theirs.replace(tzinfo=UTC) - ours).total_seconds()
        fix = "Set the clock by NTP, here or there." if abs(ahead) > CLOCK_LIMIT else None
        [zones] = self.ask(ZONES[self.dialect.name])
        return True, f"the server is {ahead:+.1f} s from this machine; time zones: {zones}", fix

    def round_trip(self) -> Found:
        def once() -> float:
            started = time.perf_counter()
            self.connection.exec_driver_sql(CLOCK[self.dialect.name]).all()
            return time.perf_counter() - started

        with self.connection.begin():
            return True, f"{_ms(median(once() for _ in range(5)))}, median of 5"

    def versions(self) -> Found:
        product = {"oracle": "Oracle", "postgresql": "PostgreSQL"}[self.dialect.name]
        server = ".".join(map(str, self.dialect.server_version_info))
        driver = connections.DIALECTS[self.dialect.name].driver(self.driver)
        if driver.endswith("thick mode"):
            driver += f", Oracle Client {'.'.join(map(str, self.dialect.dbapi.clientversion()))}"
        return True, f"{product} {server}, {driver}"


STEPS = (
    "configuration credentials network tls login encryption read_only schema dictionary writing"
    " clock round_trip versions"
).split()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
