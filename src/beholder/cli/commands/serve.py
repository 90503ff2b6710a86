"""``beholder serve``: the web page; ``beholder export-web``: the browser's decoder as static files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from beholder.cli import options

DEFAULT_PORT = 8350


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(serve)
    app.command("export-web")(export_web)


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


def export_web(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that a web server shows.")],
    model: options.Model = None,
    force: options.Force = False,
) -> None:
    """Write a static page that decodes .bhd files (alpha 0) in the browser, with its module and model."""
    from beholder.serve import static_site

    written = static_site.write_site(folder, model, force=force)
    size = sum(path.stat().st_size for path in written)
    print(f"{folder}: {len(written)} files, {size:,} bytes; open index.html through a web server")
