"""``beholder serve``: the web page."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

DEFAULT_PORT = 8350


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(serve)


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="NAME", help="Where to listen. 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes any free port.")] = DEFAULT_PORT,
    max_megabytes: Annotated[int, typer.Option("--max-mb", min=1, help="Largest upload in MiB.")] = 32,
    max_megapixels: Annotated[
        int, typer.Option("--max-mp", min=1, max=178, help="Largest picture in million pixels.")
    ] = 24,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Jobs that run at once.")] = 2,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Jobs that wait for one of those.")] = 8,
) -> None:
    """Open a web page on this machine: compress a photo, compare, and see the curves of all codecs."""
    from beholder.serve import server

    if host not in server.LOCAL:
        print("Everyone who reaches this machine can use the page: there is no password.", file=sys.stderr)
    limits = {"bytes": max_megabytes << 20, "pixels": max_megapixels * 1_000_000, "jobs": jobs, "waiting": waiting}
    server.run(host, port, limits, lambda address: print(f"Beholder's page: {address} (Ctrl-C ends it)", flush=True))
