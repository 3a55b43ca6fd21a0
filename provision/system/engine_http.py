"""One request over an engine's Unix socket, without the SDK: that takes 85 ms to import."""

from __future__ import annotations

import re
import socket


def ask(path: str, target: str, timeout: float, posted: str | None = None, method: str = "") -> tuple[int, str, bytes]:
    """Return the status, the head and the body of an answer. By itself it is a GET, and with a body a POST.

    Raises:
        OSError: nothing listens there, there was no answer in time, or it broke off.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(_request(method or ("GET" if posted is None else "POST"), target, posted))
        chunks = []
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    head, separator, body = b"".join(chunks).partition(b"\r\n\r\n")
    if not separator:
        raise ConnectionError("it closed the connection without an answer")
    status = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if status is None:
        raise ConnectionError("what answers there does not speak HTTP")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,18}) *(?:\r\n|$)", head)
    if length is not None and len(body) < int(length[1]):
        raise ConnectionError(f"its answer broke off after {len(body)} of {int(length[1])} bytes")
    return int(status[1]), head.decode(errors="replace"), body


def _request(method: str, target: str, body: str | None) -> bytes:
    """Return a request. In HTTP/1.0 no answer is chunked: it ends with the connection."""
    head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = body.encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
