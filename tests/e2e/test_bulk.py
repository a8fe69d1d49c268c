"""Bodies larger than memory through cno.Client and cno.Server, each in a process of its own."""

import os
import subprocess
import sys
from typing import Any

import pytest
from bulk import MIB, peak
from peer import LOOPS
from servers import TESTS, running

SIZE = 1024 * MIB if os.environ.get("CNO_SOAK") else 64 * MIB

# Bytes by which either process may grow from a small transfer to a large one.
GROWTH = 20 * MIB


@pytest.mark.timeout(600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop != "python"])
@pytest.mark.parametrize("slow", ["client", "server"])
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("what", ["upload", "download"])
def test_a_large_body(what: str, version: str, slow: str, loop: str) -> None:
    """A transfer of 64 MiB (make soak: 1 GiB), with a slow reader and with a slow writer."""
    with running("serve", loop, program=("bulk.py",)) as server:
        url = server.ready()
        if version == "h2":
            url = url.replace("http:", "h2c:")
        line = [sys.executable, "bulk.py", what, loop, url, str(SIZE), slow]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        sizes = []
        with subprocess.Popen(line, cwd=TESTS, **pipes) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            try:
                for said in client.stdout:
                    sizes.append((int(said.removeprefix("peak ")), peak(server.process.pid)))
                    client.stdin.write("\n")
                    client.stdin.flush()
            finally:
                client.kill()
    assert len(sizes) == 2, server.output
    (client_before, server_before), (client_after, server_after) = sizes
    print(f"{what} of {SIZE // MIB} MiB, {version}, {loop}, slow {slow}:")
    for side, before, after in (
        ("client", client_before, client_after),
        ("server", server_before, server_after),
    ):
        print(f"{side} {before / MIB:.1f} MiB, at most {(after - before) / MIB:.1f} MiB more")
    assert client_after - client_before < GROWTH
    assert server_after - server_before < GROWTH
