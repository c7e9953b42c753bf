"""Coverage-guided fuzzing of one target by atheris: `python -m tests.fuzz.harness TARGET [OPTION_OF_LIBFUZZER ...]`.

The corpus grows in .cache/fuzz/TARGET and serves the next time. An input that broke a promise lies beside it as
`TARGET-crash-...`, and is tried again by giving its path as an option.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the targets are imported under atheris' eyes
    from tests.fuzz.target import Target

CACHE: Final = Path(".cache/fuzz")
PACKAGES: Final = ["checks", "gardener", "hitless", "probes", "scenarios", "tests.fuzz"]
"""What is watched for new paths: the targets, too, because they tell one packet at a time what the engine does in batches."""
RSS_MB_MAX: Final = 4096
"""The fuzzer keeps 2 to 3 kB of every run for itself (measured: without it the same inputs leave nothing behind)."""


def main(arguments: list[str]) -> int:
    """Fuzz until libFuzzer's options say stop; it ends the process itself.

    Returns:
        The exit code where nothing could be started.
    """
    try:
        import atheris  # noqa: PLC0415 - nothing else of the tests needs it
    except ImportError:
        sys.stderr.write("missing: atheris (pip install '.[fuzz]')\n")
        return 20
    with atheris.instrument_imports(include=PACKAGES, enable_loader_override=False):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    if not arguments or arguments[0] not in targets:
        sys.stderr.write(f"usage: python -m tests.fuzz.harness {{{'|'.join(targets)}}} [OPTION ...]\n")
        return 2
    target: Target = targets[arguments[0]]
    corpus = CACHE / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-artifact_prefix={CACHE}/{target.name}-", "-max_len=8192", f"-rss_limit_mb={RSS_MB_MAX}", *arguments[1:]]
    if target.words:
        words = CACHE / f"{target.name}.words"
        words.write_text("".join(f'"{word.replace(chr(34), chr(92) + chr(34))}"\n' for word in target.words))
        options.append(f"-dict={words}")
    with target.open() as check:
        paths = [] if any(not option.startswith("-") for option in arguments[1:]) else [str(corpus)]
        atheris.Setup([sys.argv[0], *options, *paths], check)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
