"""All that is PostgreSQL's alone: sessions, and results as exact Arrow through COPY."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from sqlalchemy.engine import URL

from workbench import dtypes
from workbench.dtypes import ResultColumn
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.credentials import Credentials
    from workbench.settings import Source

SESSION = "SELECT pg_backend_pid()"
BLOCK = 2 << 20  # bytes of text that are parsed at once; more is no faster and costs memory
GRACE = 5  # seconds that the server has to end a statement before its socket is closed

# https://www.postgresql.org/docs/current/datatype.html, by the names in pg_type.
TYPES: dict[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int2": pl.Int64(),
    "int4": pl.Int64(),
    "int8": pl.Int64(),
    "oid": pl.Int64(),
    "float4": pl.Float64(),
    "float8": pl.Float64(),
    "text": pl.String(),
    "varchar": pl.String(),
    "bpchar": pl.String(),
    "name": pl.String(),
    "uuid": pl.String(),
    "json": pl.String(),
    "jsonb": pl.String(),
    "bytea": pl.Binary(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
    "interval": pl.Duration("us"),
}
# How a text is parsed, where not as its dtype: the shortest text of a float4 is not its value.
PARSED = {"bytea": pa.large_string(), "float4": pa.float32()}


def login(url: URL, source: Source, found: Credentials | None, label: str) -> Any:
    """Open one psycopg connection; its exception is the driver's own.

    Each address of the host is tried as long as no password was sent. Left to itself, libpq would
    send one that was refused again: to the next address, and without TLS.
    """
    import psycopg

    address = found.address if found else None
    query = {k: v if isinstance(v, str) else ",".join(v) for k, v in url.query.items()}
    options: dict[str, Any] = {
        "host": url.host or (address and address.host),
        "port": url.port or (address and address.port),
        "dbname": url.database or (address and address.dbname),
        "user": url.username,
        "application_name": label[:63],
        "client_encoding": "utf8",
        "connect_timeout": max(int(source.connect_timeout), 1),
        # The last one counts. The role may have other formats, which would cut digits off.
        "options": f"{query.pop('options', '')} -c statement_timeout="
        f"{int(source.call_timeout * 1000)} -c timezone=UTC -c datestyle=ISO"
        " -c extra_float_digits=1"
        f" -c default_transaction_read_only={'on' if source.read_only else 'off'}",
        # A peer that is gone is noticed by a reader that only waits.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "gssencmode": "disable",
        **query,
    }
    if found:
        options |= {"user": found.username, "password": found.password.get_secret_value()}
    options = {key: value for key, value in options.items() if value is not None}
    failure: psycopg.OperationalError | None = None
    for place in _addresses(options):
        for mode in _modes(options):
            try:
                connection = _patient().connect(**options, **place, **mode)
            except psycopg.OperationalError as error:
                if has_sent_secret(error):
                    raise
                failure = error
                if "does not support SSL" not in str(error):
                    break  # without TLS only where none is offered
            else:
                # The server itself is to speak first.
                connection.limit = source.call_timeout + GRACE
                return connection
    assert failure is not None  # noqa: S101
    raise failure


def _addresses(options: Mapping[str, Any]) -> list[dict[str, str]]:
    host = options.get("host")
    if not host or host.startswith("/") or "," in host or "hostaddr" in options:
        return [{}]
    found = socket.getaddrinfo(host, options.get("port"), type=socket.SOCK_STREAM)
    return [{"hostaddr": address} for address in dict.fromkeys(str(one[4][0]) for one in found)]


def _modes(options: Mapping[str, Any]) -> list[dict[str, str]]:
    host = options.get("host")
    if not host or host.startswith("/") or "sslmode" in options:
        return [{}]
    return [{"sslmode": "require"}, {"sslmode": "disable"}]


def has_sent_secret(error: BaseException) -> bool:
    """Tell whether a login failed after the password had been sent."""
    connection = getattr(error, "pgconn", None)
    return bool(connection and connection.used_password)


@cache
def _patient() -> Any:
    """Make the class of connections that give up a server which says nothing at all."""
    import psycopg

    class Connection(psycopg.Connection[Any]):
        limit: float | None = None  # seconds for each exchange with the server

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, timeout or self.limit)
            except psycopg.errors._WaitTimeout:
                self.pgconn.finish()
            raise psycopg.OperationalError(f"the server said nothing for {self.limit:g} s")

    return Connection


def driver(_connection: Any) -> str:
    """Name the driver and its version."""
    import psycopg

    return f"psycopg {psycopg.__version__}, libpq {psycopg.pq.version()}"


def columns(description: Sequence[Any]) -> list[ResultColumn]:
    """Describe the columns of a cursor; raises DataError for a type that has no equal."""
    return [_column(entry) for entry in description]


def describe(connection: Any, statement: str, binds: Mapping[str, Any]) -> list[ResultColumn]:
    """Describe what a SELECT would return, without reading a row of it."""
    with connection.cursor() as cursor:
        # The line feed ends a comment that the last line of the text may hold.
        text = _bound(connection, statement, binds)
        cursor.execute(f"SELECT * FROM ({text}\n) probe LIMIT 0".encode())  # noqa: S608
        return columns(cursor.description or ())


def batches(
    connection: Any, statement: str, binds: Mapping[str, Any], numbers: str, timeout: float
) -> Iterator[pl.DataFrame]:
    """Yield a SELECT's rows in frames of about BLOCK bytes, the first without rows, by COPY.

    COPY takes no binds from the server's side: the driver quotes them (libpq's escaping).
    Raises DataError for a value that does not fit its column, the driver's errors otherwise.
    """
    described = dtypes.checked(describe(connection, statement, binds), numbers)
    yield dtypes.empty(described)
    text = _bound(connection, statement, binds)
    selected = [_expression(column) for column in described]
    if any(expression for expression in selected):
        listed = ", ".join(
            f"{expression} AS {_quoted(column.name)}" if expression else _quoted(column.name)
            for expression, column in zip(selected, described, strict=True)
        )
        text = f"SELECT {listed} FROM ({text}\n) result"  # noqa: S608
    with connection.cursor() as cursor:
        # It limits the statement as a whole, however steadily its rows arrive.
        cursor.execute("SET LOCAL statement_timeout = 0")
    copy = f"COPY ({text}\n) TO STDOUT (FORMAT csv)".encode()
    # Arrow parses one block without the interpreter's lock while the next one is read.
    with ThreadPoolExecutor(1) as parser, closing(_copied(connection, copy, timeout)) as blocks:
        parsed = None
        for block in blocks:
            if parsed:
                yield parsed.result()
            parsed = parser.submit(_frame, block, described)
        if parsed:
            yield parsed.result()


def _column(entry: Any) -> ResultColumn:
    from psycopg import postgres

    info = postgres.types.get(entry.type_code)
    if info is None:
        # An enum or another type of the database's own: it goes over as text.
        return ResultColumn(entry.name, pl.String(), "custom")
    if entry.type_code == info.array_oid:
        raise dtypes.unsupported(entry.name, f"{info.name}[]")
    if info.name == "numeric":
        dtype = dtypes.number_dtype(entry.precision, entry.scale)
        return ResultColumn(entry.name, dtype, info.name)
    if info.name not in TYPES:
        raise dtypes.unsupported(entry.name, info.name)
    return ResultColumn(entry.name, TYPES[info.name], info.name)


def _expression(column: ResultColumn) -> str | None:
    """Say how a value is selected so that its text can be read exactly; None: as it is."""
    name = _quoted(column.name)
    if column.kind == "bytea":
        return f"encode({name}, 'hex')"
    if column.kind == "interval":
        # A month has no length; a value that has some is refused by the reader.
        return (
            f"CASE WHEN extract(year FROM {name}) <> 0 OR extract(month FROM {name}) <> 0"
            f" THEN 'months' ELSE trim_scale(extract(epoch FROM {name}) * 1000000)::text END"
        )
    if dtypes.is_bare(column):
        # Arrow's parser lets a number of 38 digits overflow in silence.
        return (
            f"CASE WHEN abs({name}) < {dtypes.BARE_LIMIT} THEN trim_scale({name})::text"
            f" ELSE {name} || ' is too large' END"
        )
    return None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bound(connection: Any, statement: str, binds: Mapping[str, Any]) -> str:
    from psycopg import ClientCursor

    return ClientCursor(connection).mogrify(statement.encode(), dict(binds))


def _frame(text: bytearray, described: Sequence[ResultColumn]) -> pl.DataFrame:
    from pyarrow import csv

    types = {
        str(position): PARSED.get(column.kind) or dtypes.arrow_type(column.dtype)
        for position, column in enumerate(described)
    }
    try:
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(text)),
            csv.ReadOptions(column_names=list(types), block_size=len(text) + 1),
            csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True,
                quoted_strings_can_be_null=False, true_values=["t"], false_values=["f"],
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        # Its message shows the value, which is nobody's business; the column is enough.
        place = re.search(r"CSV column #(\d+)", str(error))
    else:
        frame = pl.DataFrame(table)
        frame.columns = [column.name for column in described]
        return frame.with_columns(
            frame.get_column(column.name).str.decode("hex")
            if column.kind == "bytea"
            else frame.get_column(column.name).cast(column.dtype)
            for column in described
            if frame.schema[column.name] != column.dtype
        )
    if place is None:
        raise DataError("What the server sent cannot be read as rows.")
    raise dtypes.misfit(described[int(place[1])])


def _copied(connection: Any, copy: bytes, timeout: float) -> Generator[bytearray]:
    """Yield what a COPY sends, in blocks of whole rows; it ends on the server when closed early.

    By way of libpq itself: psycopg's own loop takes twice as long, and waits without a limit.
    Raises QueryCanceled when the server sends nothing for `timeout` seconds.
    """
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus, TransactionStatus

    wire = connection.pgconn
    try:
        wire.send_query(copy)
        result = _result(wire, timeout)
        if result.status == ExecStatus.COPY_OUT:
            # Added up at once: a list of rows would be gone through by the garbage collector.
            block = bytearray()
            while True:
                length, row = wire.get_copy_data(1)
                if length > 0:
                    block += row
                    if len(block) >= BLOCK:
                        yield block
                        block = bytearray()
                elif length == 0:
                    _await(wire, timeout)
                else:
                    break
            result = _result(wire, timeout)
            if block:
                yield block
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)
    finally:
        if wire.transaction_status == TransactionStatus.ACTIVE:
            _stop(connection)


def _result(wire: Any, timeout: float) -> Any:
    """Return the result that ends an answer, or the one that says that a COPY begins."""
    from psycopg.pq import ExecStatus

    last = None
    while True:
        while wire.flush() or wire.is_busy():
            _await(wire, timeout)
        result = wire.get_result()
        if result is None or result.status == ExecStatus.COPY_OUT:
            return result or last
        last = result


def _await(wire: Any, seconds: float) -> None:
    """Wait until the server sends something, or takes what is being sent to it."""
    from psycopg.errors import QueryCanceled

    poll = select.poll()
    poll.register(wire.socket, select.POLLIN | (select.POLLOUT if wire.flush() else 0))
    if not poll.poll(max(seconds, 0) * 1000):
        raise QueryCanceled(f"the server sent nothing for {seconds:g} s")
    wire.consume_input()


def _stop(connection: Any) -> None:
    """Cancel what the server does and read away what it still sends, or else close the socket."""
    from psycopg import Error
    from psycopg.pq import ExecStatus

    wire, deadline = connection.pgconn, time.monotonic() + GRACE
    try:
        connection.cancel_safe(timeout=GRACE)
        copying = True
        while copying:
            with suppress(Error):  # no COPY has begun yet
                while (length := wire.get_copy_data(1)[0]) >= 0:
                    if not length:
                        _await(wire, deadline - time.monotonic())
            result = _result(wire, deadline - time.monotonic())
            copying = result is not None and result.status == ExecStatus.COPY_OUT
    except Error:
        connection.close()
