"""A network that fails on demand, between a driver and its server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

# What an Oracle listener answers while an instance starts and its service is not yet registered
# (a TNS REFUSE packet: header of 8 bytes, two reasons, length, text).
_TEXT = b"(DESCRIPTION=(ERR=12514)(VSNNUM=0)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))"
SERVICE_UNKNOWN = struct.pack("!HHBBHBBH", 12 + len(_TEXT), 0, 4, 0, 0, 34, 0, len(_TEXT)) + _TEXT


class FaultyNetwork:
    """Relay 127.0.0.1:`port` to a server, count what passes, and fail as told.

    Faults are set from the test's thread at any time. `connections` counts what clients opened
    here (a login attempt is one connection, and counted before the server sees a byte of it);
    `sent` and `received` are bytes as the client sees it. `heal` ends every fault; connections
    that were cut stay cut.
    """

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.connections = self.sent = self.received = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.heal()
        self._reserve()
        self.up()

    def heal(self) -> None:
        """Pass everything from now on."""
        self._resets, self._answer, self._stalled = 0.0, b"", False
        self._left: int | None = None
        self._token: bytes | None = None

    def down(self) -> None:
        """Refuse connections as a closed port does, until `up`; open ones live on.

        Nobody sees refused attempts (the kernel answers them), so a test for "down for the first
        three tries" calls `up` from a logging.Handler on the third retry that is logged.
        """
        self._run(self._unlisten())
        self._reserve()

    def up(self) -> None:
        """Listen again, on the same port."""

        async def listen() -> None:
            self._listener = await asyncio.start_server(self._serve, sock=self._socket)

        self._run(listen())

    def reset(self, times: float = float("inf"), answer: bytes = b"") -> None:
        """Reset the next `times` connections before any answer, or after `answer` alone."""
        self._resets, self._answer = times, answer

    def cut_after(self, received: int) -> None:
        """Reset the connection once, when `received` more bytes came from the server."""
        self._left = received

    def cut_on_request(self, token: bytes = b"", delivered: bool = True) -> None:
        """Reset the connection once, at the client's next bytes that contain `token`.

        When `delivered`, the server gets and answers them, and the answer is lost: the outcome is
        known to the server alone. Otherwise they never arrive. A COMMIT is text on PostgreSQL; on
        Oracle it is not, so arm this right before the commit.
        """
        self._delivered, self._token = delivered, token

    def stall(self) -> None:
        """Swallow everything, in both directions, and keep connections open."""
        self._stalled = True

    def cut(self) -> None:
        """Reset every open connection now."""

        async def all_of_them() -> None:
            self._reset(*self._open)
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(all_of_them())

    def __enter__(self) -> FaultyNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._unlisten())
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def _reserve(self) -> None:
        # Bound but not listening: refuses, and nobody else can take the port meanwhile.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]

    async def _unlisten(self) -> None:
        self._listener.close()
        self._socket.close()

    def _reset(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            # Closing with a linger time of 0 sends RST rather than FIN.
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        if self._resets:
            self._resets -= 1
            if self._answer and await reader.read(65536):
                writer.write(self._answer)
                writer.close()
            else:
                self._reset(writer)
            return
        server_reader, server = await asyncio.open_connection(*self.server)
        self._open |= {writer, server}
        requests = asyncio.ensure_future(self._requests(reader, writer, server))
        answers = asyncio.ensure_future(self._answers(server_reader, writer))
        await asyncio.wait([requests, answers], return_when=asyncio.FIRST_COMPLETED)
        requests.cancel(), answers.cancel()
        await asyncio.gather(requests, answers, return_exceptions=True)
        server.close(), writer.close()
        self._open -= {writer, server}

    async def _requests(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, to: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            self.sent += len(data)
            if self._token is not None and self._token in data:
                self._token = None
                if not self._delivered:
                    self._reset(client)
                    break
                self._left = 0
            if not self._stalled:
                to.write(data)
                await to.drain()

    async def _answers(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    self._left = None
                    self._reset(client)
                    break
            if not self._stalled:
                self.received += len(data)
                client.write(data)
                await client.drain()
