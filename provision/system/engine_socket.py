"""One question to the engine over its Unix socket, as plain HTTP: the SDK takes 150 ms to import.

HTTP/1.0, so that no answer is chunked: it ends with the connection. Without a version in its path, a question is in the
newest version of the API that the engine knows, as the SDK asks. https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import json
import re
import socket


class RefusedByEngineError(Exception):
    """The engine did not do it; ``explanation`` has its own words."""

    def __init__(self, status: int, answer: bytes) -> None:
        try:
            self.explanation = str(json.loads(answer)["message"])
        except (ValueError, TypeError, LookupError):
            self.explanation = answer.decode(errors="replace").strip() or f"HTTP {status}"
        super().__init__(self.explanation)
        self.status = status


def ask(path: str, method: str, target: str, body: str | None, timeout: float) -> tuple[int, str, bytes]:
    """Return the status, the head and the body of an answer; ``timeout`` is that of each wait, in seconds.

    Raises:
        OSError: nothing answers there, or not as an engine does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(_question(method, target, body))
        chunks = []
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    head, separator, content = b"".join(chunks).partition(b"\r\n\r\n")
    if not separator:
        raise ConnectionError("it closed the connection without an answer")
    status = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if status is None:
        raise ConnectionError("what answers there does not speak HTTP")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,18}) *(?:\r\n|$)", head)
    if length is not None and len(content) < int(length[1]):
        raise ConnectionError(f"its answer broke off after {len(content)} of {int(length[1])} bytes")
    return int(status[1]), head.decode(errors="replace"), content


def _question(method: str, target: str, body: str | None) -> bytes:
    head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = body.encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
