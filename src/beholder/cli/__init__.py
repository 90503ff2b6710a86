"""The command line: parse, call the library, print.

- :mod:`.commands` -- a module for each few commands, such as :mod:`.commands.photos` for ``compress``, ``decompress``,
  ``evaluate-image`` and ``demo``.
- :mod:`.options`, :mod:`.values` -- options that several commands have, and what they are converted to.
- :mod:`.one_file`, :mod:`.batch` -- commands on one picture, or on many.
- :mod:`.targets`, :mod:`.target_sweep` -- what a file must reach; ``evaluate --target``.
- :mod:`.files` -- where input comes from and output goes.
- :mod:`.tables`, :mod:`.grid`, :mod:`.progress`, :mod:`.console`, :mod:`.streams` -- what is printed.

Exit codes: 0 done; 1 done in part (a target was not reached, or some files of many failed); 2 an error that the user
can act on, told in one sentence on stderr; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from beholder import __version__
from beholder.cli.options import COMMAND, HIDDEN_NAMES
from beholder.cli.streams import give_up_stdout, printable_streams
from beholder.cli.values import convert_plainly
from beholder.errors import BeholderError, InterruptedWorkError, print_notes

PROGRAM = "beholder"
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a program in C would leave

# Newer Typers bring their own Click, so its classes are found through what Typer exports.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

_MARKUP = re.compile(r"(?=\[[a-z#/@])")  # what rich, which prints the help, takes for its own

_COMMANDS = {
    "photos": ("compress", "decompress", "evaluate-image", "eval-image", "demo"),
    "listings": ("info", "codecs", "observers"),
    "prepare": ("prepare",),
    "data": ("data",),
    "evaluate": ("evaluate",),
    "reports": ("plot", "report"),
    "serve": ("serve", "export-web"),
    "training": ("train", "export"),
    "compare": ("compare",),
    "doctor": ("doctor",),
}
"""The commands of each module of :mod:`.commands`, as ``--help`` lists them."""


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
) -> None:
    """Lossy image compression for whoever looks: people, machines, or both."""
    if version:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help().rstrip())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` without the program for None); the exit code."""
    with printable_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _notes_on_stderr():
            context = {COMMAND: [PROGRAM, *words]}
            status = _command(words).main(args=words, prog_name=PROGRAM, standalone_mode=False, obj=context)
        sys.stdout.flush()
    except InterruptedWorkError as error:  # in place of the plain word below
        print(error, file=sys.stderr)
        return EXIT_INTERRUPTED
    except BeholderError as error:
        return _fail(str(error))
    except _USAGE_ERROR as error:
        return _fail(f"{_usage(error)}{_dashed(words)}")
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except MemoryError:
        return _fail("There is not enough memory for this image: use a smaller one.")
    except BrokenPipeError:
        return _quiet()
    except OSError as error:
        give_up_stdout()
        reason = error.strerror or error
        if error.filename is not None:
            return _fail(f"{error.filename} cannot be used ({reason}): check the disk and its permissions.")
        return _fail(f"The output cannot be written ({reason}): make room, or send it elsewhere.")
    except SystemExit as error:  # Typer's own answer to a broken pipe
        return _quiet() if error.code == 1 else int(error.code or 0)
    if status == EXIT_INTERRUPTED:  # what Typer makes of Ctrl-C
        print("Interrupted.", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _app(words: Sequence[str]) -> typer.Typer:
    """The command that the first word names, or the groups beside it; all commands where it names none."""
    app = typer.Typer(
        name=PROGRAM,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    named = next((word for word in words if not word.startswith("-")), None)
    for module in [module for module, names in _COMMANDS.items() if named in names] or _COMMANDS:
        import_module(f"beholder.cli.commands.{module}").register(app)
    one = [command for command in app.registered_commands if _name(command) == named]
    if one:  # each of the others takes some milliseconds
        app.registered_commands, app.registered_groups = one, []
    return app


def _name(command: Any) -> str:
    return command.name or command.callback.__name__


def _command(words: Sequence[str]) -> Any:
    """The commands, with second names hidden and help texts without markup: ``[train]`` is printed as it is."""
    command = typer.main.get_command(_app(words))
    waiting: list[Any] = [command]
    while waiting:
        one = waiting.pop()
        for text in (one, *one.params):
            if getattr(text, "help", None):
                text.help = _MARKUP.sub(r"\\", text.help)
        convert_plainly(one)
        for parameter in one.params:
            _hide_second_names(parameter)
        waiting += getattr(one, "commands", {}).values()
    return command


def _hide_second_names(parameter: Any) -> None:
    """Let the parser know all names of an option, and show the first ones only."""
    every = list(parameter.opts)
    shown = [name for name in every if name not in HIDDEN_NAMES]
    if shown == every:
        return
    add = parameter.add_to_parser

    def add_with_second_names(parser: Any, context: Any) -> None:
        parameter.opts = every
        try:
            add(parser, context)
        finally:
            parameter.opts = shown

    parameter.opts, parameter.add_to_parser = shown, add_with_second_names


@contextlib.contextmanager
def _notes_on_stderr() -> Iterator[None]:
    with warnings.catch_warnings():
        print_notes()
        yield


def _fail(sentence: str) -> int:
    with contextlib.suppress(OSError):
        print("Error:", " ".join(sentence.split()), file=sys.stderr)
    return EXIT_ERROR


def _usage(error: Exception) -> str:
    message = str(getattr(error, "format_message", lambda: error)()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    return f"{message} (see `{command} --help`)."


def _dashed(words: Sequence[str]) -> str:
    """Advice for files whose names are taken for options."""
    name = next((word for word in words if word.startswith("-") and os.path.lexists(word)), None)
    return "" if name is None else f" A file of that name is written ./{name}."


def _quiet() -> int:
    give_up_stdout()
    return EXIT_BROKEN_PIPE
