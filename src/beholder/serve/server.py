"""The socket that the web application listens on."""

from __future__ import annotations

import socket
from collections.abc import Callable

from beholder.errors import NotAvailableError, OutputError
from beholder.extras import install_command

LOCAL = ("localhost", "127.0.0.1", "::1")


def run(host: str, port: int, limits: dict[str, int], announce: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        host: name or address to listen on; other machines reach it unless it is one of LOCAL.
        port: 0 for any free one.
        limits: fields of :class:`beholder.serve.app.Limits`.
        announce: called with the address once the socket is open.

    Raises:
        NotAvailableError: the extra ``web`` is not installed.
        OutputError: the address cannot be used.
    """
    try:
        import uvicorn

        from beholder.serve.app import Limits, create_app
    except ModuleNotFoundError as error:
        raise NotAvailableError(f"The page needs {error.name}: {install_command('web')}.") from None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OverflowError:
        raise OutputError(f"There is no port {port}: choose 1 to 65535, or 0 for any free one.") from None
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{host}, port {port} cannot be used ({reason}): choose another --host or --port.") from None
    with listening:
        local = host in LOCAL
        app = create_app(Limits(**limits), ("localhost", "127.0.0.1", "[::1]") if local else ("*",))
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(
            app, log_level="warning", limit_concurrency=64, timeout_keep_alive=5, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])
