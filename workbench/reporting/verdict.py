"""How a run ended, in words, with a symbol and a tone; never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A run's status as a reader sees it."""

    status: str
    symbol: str
    tone: str
    word: str
    headline: str
    advice: str

    @property
    def good(self) -> bool:
        """Tell whether the run's numbers may be used."""
        return self.status in {"passed", "warned"}


_CLOSED = "Nothing after that point was run, so this page is incomplete."
_VERDICTS = {
    verdict.status: verdict
    for verdict in (
        Verdict("passed", "✓", "good", "Passed", "This run passed", ""),
        Verdict(
            *("warned", "!", "warn", "Passed with warnings", "This run passed with warnings"),
            "It ran to its end, but at least one check on the data raised a warning.",
        ),
        Verdict(
            *("data-failed", "≠", "bad", "Data check failed", "A check on the data failed"),
            "The notebook ran to its end, but at least one critical check on the data failed. "
            "Do not rely on the numbers below until that is explained.",
        ),
        Verdict("error", "✕", "bad", "Failed", "This run failed", _CLOSED),
        Verdict("timeout", "◷", "bad", "Timed out", "This run ran out of time", _CLOSED),
        Verdict(
            *("kernel-died", "↯", "bad", "Kernel died", "The kernel of this run died"),
            f"{_CLOSED} The usual reason is that it used more memory than the machine has.",
        ),
        Verdict("cancelled", "■", "mute", "Cancelled", "This run was cancelled", _CLOSED),
    )
}


def verdict(status: object) -> Verdict:
    """Return the words for a status; an unknown one is shown as it is and never counts as good."""
    known = _VERDICTS.get(str(status))
    if known:
        return known
    word = f"Unknown status: {status}" if status else "Unknown status"
    return Verdict("unknown", "?", "mute", word, "How this run ended is not known", "")
