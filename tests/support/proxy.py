"""The engine behind a socket of ours: "on another host", or with what it is asked written down, or mortal."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from provision.system.engine_address import locate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOCKET = locate(os.environ).socket_path or ""


@contextmanager
def remote_engine(host: str = "127.0.0.1") -> Iterator[str]:
    """Serve the engine over TCP at an address of this machine, and give the URL for DOCKER_HOST."""
    with socket.create_server((host, 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield f"tcp://{host}:{listener.getsockname()[1]}"


@contextmanager
def recorded_engine(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the engine on a Unix socket; give the URL for DOCKER_HOST, and the first line of each connection."""
    requests: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "engine.sock"))
        listener.listen()
        threading.Thread(target=_accept, args=(listener, requests), daemon=True).start()
        yield f"unix://{directory}/engine.sock", requests


@contextmanager
def mortal_engine(directory: Path, last_words: str) -> Iterator[str]:
    """Serve the engine on a Unix socket until it is asked for ``last_words``; it never hears them, nor anything more.

    Gives the URL for DOCKER_HOST.
    """
    path = directory / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_accept_until, args=(listener, path, last_words.encode()), daemon=True).start()
        yield f"unix://{path}"


def _accept_until(listener: socket.socket, path: Path, last_words: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve_until, args=(client, path, last_words), daemon=True).start()


def _serve_until(client: socket.socket, path: Path, last_words: bytes) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine:
        engine.connect(SOCKET)
        threading.Thread(target=_pump, args=(engine, client), daemon=True).start()
        with suppress(OSError):
            while chunk := client.recv(1 << 16):
                if last_words in chunk:
                    path.unlink(missing_ok=True)
                    client.shutdown(socket.SHUT_RDWR)
                    return
                engine.sendall(chunk)


def _accept(listener: socket.socket, requests: list[str] | None = None) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, requests), daemon=True).start()


def _serve(client: socket.socket, requests: list[str] | None) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine:
        engine.connect(SOCKET)
        if requests is not None:
            first = client.recv(1 << 16)
            requests.append(first.decode().partition(" HTTP/")[0])
            engine.sendall(first)
        back = threading.Thread(target=_pump, args=(engine, client), daemon=True)
        back.start()
        _pump(client, engine)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
