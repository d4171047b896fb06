"""A papermill engine that knows its limits and marks as completed only what completed.

`papermill --engine workbench` gets it by its entry point. papermill's own engine writes the whole
notebook at the start and the end of every cell, and after a timeout or a dead kernel calls every
cell "completed".
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from queue import Empty
from typing import Any

import nbformat
import zmq
from jupyter_core.utils import ensure_async, run_sync
from nbclient.exceptions import (
    CellExecutionComplete,
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager

from workbench.records import NOTE, STATED, WARNING
from workbench.running import outcome
from workbench.running.watch import Stopped, Watch

START_LIMIT = 60  # seconds until a kernel is ready; deadlines count from there
GRACE = 3  # seconds an interrupted cell has to show where it was
CELL_LIMIT = 10_000_000  # characters kept of what one cell puts out
ERROR_LIMIT = 200_000  # characters kept of an exception's message and of each traceback entry


class Progress(NotebookExecutionManager):  # type: ignore[misc]
    """papermill's book-keeping, but written once, and true for cells that were never reached."""

    def save(self, **kwargs: Any) -> None:
        """Write the notebook when execution is over, however it ended; not before."""
        if self.end_time is not None:
            super().save(**kwargs)

    def autosave_cell(self, **kwargs: Any) -> None:
        """Write nothing in between."""

    def notebook_complete(self, **kwargs: Any) -> None:
        """Set the end and save; cells that were never reached stay pending."""
        self.end_time = self.now()
        told = self.nb.metadata.papermill
        told["end_time"] = self.end_time.isoformat()
        told["duration"] = (self.end_time - self.start_time).total_seconds()
        self.cleanup_pbar()
        self.save()


class Engine(NBClientEngine):  # type: ignore[misc]
    """The engine called `workbench`; understands `watch` and `kernel` besides papermill's own."""

    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, output_path: Any = None, progress_bar: Any = True,
        log_output: bool = False, autosave_cell_every: int = 0, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Execute `nb` in place; raises Stopped when a limit is reached or the kernel dies."""
        progress = Progress(nb, output_path, log_output, progress_bar, autosave_cell_every)
        progress.notebook_start()
        try:
            cls.execute_managed_notebook(progress, kernel_name, log_output=log_output, **kwargs)
        finally:
            progress.notebook_complete()
        return progress.nb

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, log_output: bool = False, watch: Watch | None = None,
        kernel: Mapping[str, Any] | None = None, start_timeout: float = START_LIMIT,
        execution_timeout: float | None = None, input_path: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Run the cells under `watch`, in a kernel started with the options `kernel`."""
        client = Client(
            nb_man,
            watch=watch or Watch(cell_timeout=execution_timeout),
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            log_output=log_output,
            **kwargs,
        )
        client.execute(**(kernel or {}))


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """nbclient's client under a `Watch`: interrupts what takes too long, keeps outputs bounded."""

    def __init__(self, nb_man: Any, watch: Watch, **kwargs: Any) -> None:
        # Outputs are read to their end however long that takes, while the kernel lives.
        super().__init__(nb_man, iopub_timeout=START_LIMIT, **kwargs)
        self.watch = watch
        self.watch.notebook = self.nb
        # What a notebook was saved with tells of an earlier execution.
        self.nb.metadata.pop("workbench", None)
        self.at: int | None = None
        self.size = 0

    def execute(self, **kernel: Any) -> Any:
        """Execute every cell; `kernel` holds what starts it: env, stderr, pass_fds and so on."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._execute(kernel))
        else:  # called from a notebook
            run_sync(self._execute)(kernel)
        return self.nb

    async def _execute(self, kernel: Mapping[str, Any]) -> None:
        self.reset_execution_trackers()
        self.km = self.create_kernel_manager()
        # By default ZeroMQ drops what comes faster than it is read.
        self.km.context.setsockopt(zmq.RCVHWM, 0)
        try:
            await self._start(kernel)
            with self.watch.limit(self.watch.timeout, "The notebook"):
                for at, cell in enumerate(self.nb.cells):
                    self.at = at
                    if not await self._execute_one(cell, at):
                        break
            self.set_widgets_metadata()
        except Stopped as stopped:
            outcome.stop(self.nb, stopped.status, str(stopped), self.at)
            self.shutdown_kernel = "immediate"
            raise
        finally:
            # Not before: a later cell may update a display that an earlier one began.
            for cell in self.nb.cells:
                if "outputs" in cell:
                    cell.outputs = list(_joined(cell.outputs))
            if self.km is not None and self.km.has_kernel:
                await self._async_cleanup_kernel()
            elif self.km is not None:  # it never started
                await ensure_async(self.km.cleanup_resources())

    async def _start(self, kernel: Mapping[str, Any]) -> None:
        self._check_limits()
        await self.async_start_new_kernel(**kernel)
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.allow_stdin = False
        try:
            with self.watch.limit(self.startup_timeout, "The start of the kernel"):
                await self._until(asyncio.ensure_future(self._ready()))
        except DeadKernelError:
            raise await self._death("before it was ready") from None

    async def _ready(self) -> None:
        """Ask until the answer is heard on both channels: from then on no output is missed."""
        patience = 0.1
        while True:
            request = self.kc.kernel_info()
            with suppress(Empty):
                while True:
                    heard = await ensure_async(self.kc.iopub_channel.get_msg(timeout=patience))
                    idle = heard["content"].get("execution_state") == "idle"
                    if idle and heard["parent_header"].get("msg_id") == request:
                        reply = await self.async_wait_for_reply(request)
                        self.nb.metadata["language_info"] = reply["content"]["language_info"]
                        return
            await self._async_check_alive()
            patience = min(2 * patience, 1)

    async def _async_cleanup_kernel(self) -> None:
        """Let an idle kernel end by itself, and kill any other."""
        if self.shutdown_kernel != "immediate":
            # Without the interrupt that jupyter_client begins with: it can meet the kernel as it
            # takes up this very request, which is then lost and waited for in vain.
            await ensure_async(self.km.request_shutdown())
            await ensure_async(self.km.finish_shutdown(pollinterval=0.02))
        await super()._async_cleanup_kernel()

    async def _execute_one(self, cell: nbformat.NotebookNode, index: int) -> bool:
        """Run one cell; returns whether the next one should run."""
        if cell.cell_type != "code":
            self.nb_man.cell_start(cell, index)
            self.nb_man.cell_complete(cell, cell_index=index)
            return True
        self._check_limits()
        self.nb_man.cell_start(cell, index)
        self.watch.on_cell(index, len(self.nb.cells), None)
        self.size = 0
        try:
            with self.watch.limit(self.watch.cell_timeout, f"Cell {index + 1}"):
                running = asyncio.ensure_future(self.async_execute_cell(cell, index))
                await self._until(running)
        except CellExecutionError as error:
            self.nb_man.cell_exception(cell, cell_index=index, exception=error)
            if not any(output.output_type == "error" for output in cell.outputs):
                # Something in the notebook shows exceptions in its own way; this one counts.
                cell.outputs.append(
                    nbformat.v4.new_output(
                        "error", ename=str(error.ename), evalue=str(error.evalue),
                        traceback=[str(error.traceback)],
                    )
                )  # fmt: skip
            return False
        except (Stopped, DeadKernelError) as error:
            self.nb_man.cell_exception(cell, cell_index=index, exception=error)
            if isinstance(error, Stopped):
                raise
            raise await self._death(f"while cell {index + 1} was running") from None
        except CellTimeoutError:
            _add(cell, WARNING, "Outputs may be missing: the kernel never marked their end.")
        finally:
            self.nb_man.cell_complete(cell, cell_index=index)
            seconds = cell.metadata.papermill["duration"]
            self.watch.on_cell(index, len(self.nb.cells), seconds)
        return True

    async def _until(self, running: asyncio.Future[Any]) -> None:
        """Wait for it, unless a limit is reached first: then let the kernel show where it was."""
        while not running.done():
            await asyncio.wait({running}, timeout=self.watch.until_next())
            self.watch.see(getattr(self.km.provisioner, "pid", None))
            reached = self.watch.reached()
            if reached and not running.done():
                await ensure_async(self.km.interrupt_kernel())
                await asyncio.wait({running}, timeout=GRACE)
                # nbclient's own tasks, which would go on looking at a kernel that is gone.
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, running, return_exceptions=True)
                raise reached
        running.result()

    def _check_limits(self) -> None:
        if reached := self.watch.reached():
            self.at = None
            raise reached

    async def _death(self, when: str) -> Stopped:
        """Say how the kernel died, as far as its exit status tells."""
        code = await self.km.provisioner.poll() if self.km and self.km.provisioner else None
        how = f" with exit status {code}" if code else ""
        if code and code < 0:
            with suppress(ValueError):
                how = f" by {signal.Signals(-code).name}"
        memory = ", as it is when the machine runs out of memory" if code == -9 else ""
        return Stopped("kernel-died", f"The kernel died{how}{memory} {when}.")

    def process_message(
        self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int
    ) -> Any:
        """Take in one message of the kernel, within the limits; none of them ends the run."""
        if msg["msg_type"] == "clear_output":
            self.size = 0
        # Cleared is what is seen; what the notebook has stated, it has stated.
        stated = [output for output in cell.outputs if _states(output.get("data"))]
        try:
            if not self._fits(msg, cell):
                return None
            output = super().process_message(msg, cell, cell_index)
            if stated and not any(kept is stated[0] for kept in cell.outputs):
                cell.outputs.extend(stated)
            return output
        except CellExecutionComplete:
            raise
        except Exception as error:
            _add(cell, NOTE, f"An output could not be read ({type(error).__name__}: {error}).")
            return None

    def _fits(self, msg: dict[str, Any], cell: nbformat.NotebookNode) -> bool:
        """Tell whether an output is kept; shortens texts, and notes once what is left out."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "error":
            content["evalue"] = str(content["evalue"])[:ERROR_LIMIT]
            content["traceback"] = [str(entry)[-ERROR_LIMIT:] for entry in content["traceback"]]
        if _states(content.get("data")) and _length(content) < ERROR_LIMIT:
            return True
        if kind not in ("stream", "display_data", "execute_result", "update_display_data"):
            return True
        size = _length(content.get("text", content.get("data")))
        room = CELL_LIMIT if kind == "update_display_data" else CELL_LIMIT - self.size
        if kind != "update_display_data":
            self.size += size
        if size <= room:
            return True
        if kind == "stream" and room > 0:
            super().process_message(
                {**msg, "content": {**content, "text": content["text"][:room]}}, cell, 0
            )
        if room > 0:
            limit = f"{CELL_LIMIT / 1e6:g} million characters"
            _add(cell, NOTE, f"Output was left out here: of one cell, {limit} are kept.")
        return False


def _states(data: Any) -> bool:
    """Tell whether an output states something: a figure, a verdict, a warning, a source."""
    return isinstance(data, Mapping) and any(mime.startswith(STATED) for mime in data)


def _length(content: Any) -> int:
    """Return about how many characters a part of a message has."""
    if isinstance(content, str):
        return len(content)
    if isinstance(content, Mapping):
        return sum(map(_length, content.values()))
    return sum(map(_length, content)) if isinstance(content, list) else 8


def _add(cell: nbformat.NotebookNode, mime: str, message: str) -> None:
    data = {mime: {"message": message}, "text/plain": f"[{message}]"}
    cell.outputs.append(nbformat.v4.new_output("display_data", data))


def _joined(outputs: Sequence[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Make one output of adjacent pieces of one stream, as JupyterLab does."""
    for name, pieces in groupby(outputs, key=lambda output: output.get("name")):
        if name is None:
            yield from pieces
        else:
            text = "".join(piece.text for piece in pieces)
            yield nbformat.v4.new_output("stream", name=name, text=text)
