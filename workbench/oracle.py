"""All that is Oracle's alone: how to get in, and results as exact Arrow.

Facts of the driver: https://python-oracledb.readthedocs.io/; of the SQL: Oracle Database 19c,
SQL Language Reference.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.oracle.base import RESERVED_WORDS
from sqlalchemy.engine import URL

from workbench import dtypes
from workbench.dtypes import ResultColumn
from workbench.errors import ConnectionFailed, DataError

if TYPE_CHECKING:
    from workbench.credentials import Address, Credentials
    from workbench.settings import Source

# SQLAlchemy lacks some of the SQL Language Reference 19c, appendix E.
RESERVED = RESERVED_WORDS | set(
    "ACCESS ADD AUDIT COLUMN FILE IMMEDIATE INCREMENT INITIAL MAXEXTENTS MLSLABEL MODIFY NOAUDIT"
    " OFFLINE ONLINE ROW ROWID ROWNUM ROWS SESSION SUCCESSFUL SYSDATE VALIDATE WHENEVER".split()
)
SESSION = "SELECT SYS_CONTEXT('USERENV', 'SID') FROM DUAL"
# A firewall forgets a connection that is silent for some minutes; a probe keeps it.
EXPIRE_TIME = 2  # minutes
# A notebook has a few dozen different statements; each one kept open costs the server memory.
STATEMENT_CACHE = 40
# Rows of one round trip: the driver's arraysize and prefetchrows both. Measured on 200,000 rows of
# ten columns: from 5,000 on no faster, and from 20,000 on it only costs memory (10 MB per 100,000).
# Below, the delay of the network would count.
FETCH_ROWS = 20_000

# The connection was there, and is no more.
LOST = {"DPY-4011", "ORA-03113", "ORA-03114", "ORA-03135", "ORA-01092", "ORA-12537", "ORA-12547",
        "ORA-12570", "ORA-12571"}  # fmt: skip
# https://python-oracledb.readthedocs.io/, database types; DATE keeps its time of day.
TYPES: dict[str, pl.DataType] = {
    "DB_TYPE_BINARY_DOUBLE": pl.Float64(),
    "DB_TYPE_BINARY_FLOAT": pl.Float64(),
    "DB_TYPE_BLOB": pl.Binary(),
    "DB_TYPE_BOOLEAN": pl.Boolean(),
    "DB_TYPE_CHAR": pl.String(),
    "DB_TYPE_CLOB": pl.String(),
    "DB_TYPE_DATE": pl.Datetime("us"),
    "DB_TYPE_INTERVAL_DS": pl.Duration("us"),
    "DB_TYPE_JSON": pl.String(),
    "DB_TYPE_NCHAR": pl.String(),
    "DB_TYPE_NCLOB": pl.String(),
    "DB_TYPE_NVARCHAR": pl.String(),
    "DB_TYPE_RAW": pl.Binary(),
    "DB_TYPE_ROWID": pl.String(),
    "DB_TYPE_TIMESTAMP": pl.Datetime("us"),
    "DB_TYPE_TIMESTAMP_LTZ": pl.Datetime("us", "UTC"),
    "DB_TYPE_TIMESTAMP_TZ": pl.Datetime("us", "UTC"),
    "DB_TYPE_VARCHAR": pl.String(),
}
# How a value is selected so that the driver hands it over whole and exact.
EXPRESSIONS = {
    # The driver drops the zone and keeps the local time.
    "DB_TYPE_TIMESTAMP_LTZ": "SYS_EXTRACT_UTC({0})",
    "DB_TYPE_TIMESTAMP_TZ": "SYS_EXTRACT_UTC({0})",
    # Microseconds; Arrow's own interval cannot be asked for.
    "DB_TYPE_INTERVAL_DS": "EXTRACT(DAY FROM {0}) * 86400000000"
    " + EXTRACT(HOUR FROM {0}) * 3600000000 + EXTRACT(MINUTE FROM {0}) * 60000000"
    " + EXTRACT(SECOND FROM {0}) * 1000000",
    "DB_TYPE_JSON": "JSON_SERIALIZE({0} RETURNING CLOB)",
    "DB_TYPE_ROWID": "ROWIDTOCHAR({0})",
}
HINTS = {
    "INTERVAL_YM": 'A month has no length; select EXTRACT(YEAR FROM "{0}") * 12 + '
    'EXTRACT(MONTH FROM "{0}").',
    "XMLTYPE": 'Select XMLSERIALIZE(CONTENT "{0}" AS CLOB).',
    "BFILE": 'Select TO_BLOB("{0}").',
    "LONG": 'LONG columns cannot be converted by a query; convert the table\'s "{0}" to CLOB.',
}


def connect_string(url: URL, source: Source, address: Address | None) -> str:
    """Give the connect descriptor or alias: the source's dsn or URL, else what the secret says.

    Raises ConnectionFailed where none of them says where the database is, or which service.
    """
    import oracledb

    if source.dsn or (address and address.dsn and not url.host):
        return source.dsn or str(address and address.dsn)
    host = url.host or (address and address.host)
    if not host:
        raise ConnectionFailed(
            "Neither the source nor its secret says where the database is.",
            "Give the source a url with host and service_name, or a dsn.",
        )
    query = {key: value for key, value in url.query.items() if isinstance(value, str)}
    service = query.get("service_name") or (
        None if url.database else address and address.service_name
    )
    if not service and not url.database:
        if url.port or (address and address.port and not url.host):
            raise ConnectionFailed(
                "The URL names no service, nor does its secret.",
                "Write oracle+oracledb://host:1521/?service_name=NAME; an alias has no port.",
            )
        # SQLAlchemy's way to name an alias of tnsnames.ora: oracle+oracledb://@alias
        return host
    described: str = oracledb.ConnectParams(
        host=host,
        port=url.port or (address and address.port) or 1521,
        service_name=service,
        sid=url.database,
        protocol=query.get("protocol", "tcp"),
    ).get_connect_string()
    return described


def login(url: URL, source: Source, found: Credentials | None, label: str) -> Any:
    """Open one session and set its limits; the exceptions are the driver's own."""
    import oracledb

    if source.thick:
        _thick_mode(source)
    else:
        # Undecided, the driver has all connections wait for the first. Thick mode stays.
        with suppress(oracledb.Error):
            oracledb.enable_thin_mode()  # type: ignore[no-untyped-call]
    words = label.split(" ")
    options: dict[str, Any] = {
        "dsn": connect_string(url, source, found.address if found else None),
        "config_dir": str(source.config_dir) if source.config_dir else None,
        "wallet_location": str(source.wallet_location) if source.wallet_location else None,
        "tcp_connect_timeout": source.connect_timeout,
        "expire_time": EXPIRE_TIME,
        "stmtcachesize": STATEMENT_CACHE,
        # Tries are ours alone, so that a refused password is not sent again.
        "retry_count": 0,
    }
    if found:
        options |= {"user": found.username, "password": found.password.get_secret_value()}
        if found.wallet_password:
            options["wallet_password"] = found.wallet_password.get_secret_value()
    connection = oracledb.connect(**{k: v for k, v in options.items() if v is not None})
    # Once and now: set on a connection that has died, it can crash the interpreter.
    connection.call_timeout = max(int(source.call_timeout * 1000), 1)
    connection.inputtypehandler = _moment
    with connection.cursor() as cursor:
        cursor.execute("ALTER SESSION SET TIME_ZONE = '+00:00'")
    connection.module = " ".join(words[:2])[:48]
    if len(words) > 2:
        connection.action = " ".join(words[2:])[:32]
    connection.client_identifier = label[:64]
    return connection


def has_sent_secret(error: BaseException) -> bool:
    """Tell whether a login may have failed after the password was sent: its answer was lost.

    What is lost before that is wrapped in DPY-6005, or told by the listener.
    """
    detail = error.args[0] if error.args else None
    return getattr(detail, "full_code", None) in LOST


def begin_read_only(connection: sa.Connection) -> None:
    """Make the transaction that has just begun read-only; SET TRANSACTION must come first in it."""
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def driver(connection: Any) -> str:
    """Name the driver, its version and its mode."""
    import oracledb

    return f"oracledb {oracledb.__version__}, {'thin' if connection.thin else 'thick'} mode"


def describe(connection: Any, statement: str, binds: Mapping[str, Any]) -> list[ResultColumn]:
    """Describe what a SELECT would return, without reading a row of it."""
    with connection.cursor() as cursor:
        # SQLAlchemy has LOBs converted on their way; here they are told as what they are.
        cursor.outputtypehandler = lambda _cursor, _column: None
        # Not the text that is fetched: the stand-in mixes their LOBs up.
        text = f"{statement}\n/* described */"
        if binds:
            # Parsed alone, an expression over a bind would be taken for text.
            cursor.prefetchrows = 0
            cursor.execute(text, dict(binds))
        else:
            cursor.parse(text)
        return columns(cursor.description or ())


def columns(description: Sequence[Any]) -> list[ResultColumn]:
    """Describe the columns of a cursor; raises DataError for a type that has no equal."""
    return [_column(entry) for entry in description]


def batches(
    connection: Any, statement: str, binds: Mapping[str, Any], numbers: str, _timeout: float
) -> Iterator[pl.DataFrame]:
    """Yield a SELECT's rows in frames of FETCH_ROWS, the first without rows, by way of Arrow.

    Empty text is NULL in Oracle. Fractions of a second are read to the microsecond. Raises
    DataError for a number that does not fit its column, the driver's errors otherwise.
    """
    import oracledb

    if binds:
        # The driver knows the columns' types by the text, also when binds of other types follow.
        kinds = (f"{type(value).__name__}{_is_fine(value):d}" for value in binds.values())
        statement += f"\n/* {' '.join(kinds)} */"
    described = dtypes.checked(describe(connection, statement, binds), numbers)
    yield dtypes.empty(described)
    text = _selected(statement, described)
    schema = pa.schema([(column.name, _requested(column)) for column in described])
    try:
        for part in connection.fetch_df_batches(
            text, dict(binds), size=FETCH_ROWS, requested_schema=schema
        ):
            yield _frame(pa.table(part), described)
        return
    except oracledb.Error as error:
        code = getattr(error.args[0], "full_code", "") if error.args else ""
        suspects = [column for column in described if _misfits(column)]
        if code not in ("DPY-4042", "DPY-4036", "ORA-01438") or not suspects:
            raise
    # The driver names the value, never its column: one more statement, after a failure only.
    tests = ", ".join(f"MAX(CASE WHEN {_misfits(column)} THEN 1 END)" for column in suspects)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {tests} FROM ({statement}\n) q", dict(binds))  # noqa: S608
        found = cursor.fetchone()
    raise dtypes.misfit(suspects[found.index(1) if 1 in found else 0])


def _thick_mode(source: Source) -> None:
    import oracledb

    where = str(source.client_lib_dir) if source.client_lib_dir else None
    config = str(source.config_dir) if source.config_dir else None
    failure = ""
    try:
        # Again with the same arguments is no error: the mode is the process's.
        oracledb.init_oracle_client(lib_dir=where, config_dir=config)
    except oracledb.Error as error:
        failure = str(error.args[0].full_code)
    if failure == "DPY-2019":
        raise ConnectionFailed(
            "Thick mode is asked for after a connection in thin mode was made in this process.",
            "Connect to the source that is thick first, or make all Oracle sources thick.",
        )
    if failure:
        place = f"in {where}" if where else "on this machine's library path"
        raise ConnectionFailed(
            f"The source asks for thick mode, and no Oracle Client is {place} ({failure}).",
            "Install the Oracle Instant Client and name its folder as client_lib_dir, "
            "or take out thick = true.",
        )


def _column(entry: Any) -> ResultColumn:
    name, kind = entry.name, entry.type_code.name
    if kind == "DB_TYPE_NUMBER":
        # A bare NUMBER says precision 0, a FLOAT says scale -127: neither declares its digits.
        declared = entry.precision and entry.scale != -127
        dtype = dtypes.number_dtype(entry.precision, entry.scale) if declared else None
        return ResultColumn(name, dtype or dtypes.BARE_NUMBER, kind)
    if kind not in TYPES:
        bare = kind.removeprefix("DB_TYPE_")
        hint = HINTS.get(bare.removesuffix("_RAW").removesuffix("_NVARCHAR"))
        raise dtypes.unsupported(name, bare, hint and hint.format(name))
    return ResultColumn(name, TYPES[kind], kind)


def _quoted(name: str) -> str:
    # Quoted only where it must be, as people write names. Qualified, because a column may be
    # called SYSDATE, and ROWNUM would be counted anew.
    plain = re.fullmatch("[A-Z][A-Z0-9_$#]*", name) and name not in RESERVED
    return f"q.{name}" if plain else f'q."{name}"'


def _selected(statement: str, described: Sequence[ResultColumn]) -> str:
    expressions = []
    for column in described:
        name = _quoted(column.name)
        if dtypes.is_bare(column):
            # The driver lets a number of more than 38 digits overflow in silence; Oracle does not.
            expressions.append(
                f"CASE WHEN ABS({name}) < {dtypes.BARE_LIMIT} THEN {name} "
                f"ELSE CAST({name} AS NUMBER(38, 10)) END"
            )
        else:
            expressions.append(EXPRESSIONS.get(column.kind, "{0}").format(name))
    names = [_quoted(column.name) for column in described]
    if expressions == names:
        return statement
    if odd := [c.name for c in described if '"' in c.name or len(c.name.encode()) > 128]:
        raise DataError(f"The column {odd[0]!r} has no name.", "Give it one in the statement: AS.")
    listed = ", ".join(
        f"{expression} AS {name.removeprefix('q.')}"
        for expression, name in zip(expressions, names, strict=True)
    )
    return f"SELECT {listed} FROM ({statement}\n) q"  # noqa: S608


def _misfits(column: ResultColumn) -> str | None:
    """Give the condition under which a value does not fit its column; None where all do."""
    name = _quoted(column.name)
    if dtypes.is_bare(column):
        return f"ABS({name}) >= {dtypes.BARE_LIMIT} OR {name} <> ROUND({name}, 10)"
    if isinstance(column.dtype, pl.Duration):
        return f"ABS({EXPRESSIONS[column.kind].format(name)}) >= {1 << 63}"
    return None


def _requested(column: ResultColumn) -> pa.DataType:
    if isinstance(column.dtype, pl.Datetime):
        return pa.timestamp("us")
    return dtypes.arrow_type(column.dtype)


def _frame(table: pa.Table, described: Sequence[ResultColumn]) -> pl.DataFrame:
    frame = pl.DataFrame(table)
    return frame.with_columns(
        frame.get_column(column.name).dt.replace_time_zone("UTC")
        if isinstance(column.dtype, pl.Datetime)
        else frame.get_column(column.name).cast(column.dtype)
        for column in described
        if frame.schema[column.name] != column.dtype
    )


def _moment(cursor: Any, value: Any, arraysize: int) -> Any:
    """Bind a datetime whole: as a DATE, the driver's way, it loses its fraction and its zone.

    A single one without either stays a DATE, so that an index on a DATE column serves it.
    """
    import oracledb

    if not isinstance(value, dt.datetime) or not (_is_fine(value) or arraysize > 1):
        return None
    # In UTC, because the driver sends no offset.
    return cursor.var(
        oracledb.DB_TYPE_TIMESTAMP_TZ if value.tzinfo else oracledb.DB_TYPE_TIMESTAMP,
        arraysize=arraysize,
        inconverter=lambda moment: (
            moment.astimezone(dt.UTC) if moment and moment.tzinfo else moment
        ),
    )


def _is_fine(value: Any) -> bool:
    return bool(getattr(value, "microsecond", 0) or getattr(value, "tzinfo", None))
