"""A client of the jobs API as a third party writes one: from its documents alone.

It is run as a program, `python jobs.py` with its task as JSON on stdin, and imports nothing of the server. What the
documents promise is asserted as it goes along; the last line that it prints is `ok`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import socket
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests

TERMINAL = {"Completed", "Failed", "Warning", "Skipped"}
TOLERANCE = 300
"""Seconds that the time of a webhook's signature may be off."""


class ApiError(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.text = body["error"]


class Client:
    """`auth` is how the key travels: `header` for x-api-key, `bearer` as marketplaces do it."""

    def __init__(self, base: str, key: str, auth: str = "header", interval: float = 2.0, patience: float = 60.0):
        self.base = base.rstrip("/")
        self.interval = interval
        self.patience = patience
        self.session = requests.Session()
        self.headers = {"x-api-key": key} if auth == "header" else {"Authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Asks again when the server is busy or away, after the pause it names, which an idempotency key makes safe."""
        for attempt in range(5):
            answer = self.session.request(
                method, self.base + path, json=body, headers={**self.headers, **headers}, timeout=60
            )
            if answer.status_code != 429 and answer.status_code < 500:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", 2**attempt)), 60))
        if answer.status_code not in (200, 201, 204):
            raise ApiError(answer.status_code, answer.json())
        return answer.json()

    def create(self, url: str, idempotency_key: str | None = None, **options: Any) -> dict[str, Any]:
        key = idempotency_key or str(uuid.uuid4())
        created = self.call("POST", "/jobs", {"url": url, **options}, **{"x-idempotency-key": key})
        return dict(created)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job that was created a moment ago may not be known everywhere yet: 404 is tolerated for 30 s."""
        until = time.monotonic() + 30
        while True:
            try:
                return dict(self.call("GET", f"/jobs/{job_id}"))
            except ApiError as error:
                if error.status != 404 or time.monotonic() > until:
                    raise
            time.sleep(self.interval)

    def wait(self, job_id: str) -> dict[str, Any]:
        until = time.monotonic() + self.patience
        while (job := self.job(job_id))["status"] not in TERMINAL:
            assert job["status"] in ("Pending", "Processing"), job
            assert job["step"] in ("Queued", "Downloading", "Muxing", "Uploading"), job
            assert time.monotonic() < until, f"still {job['status']}"
            time.sleep(self.interval)
        return job

    def wait_for_batch(self, batch_id: str) -> dict[str, Any]:
        until = time.monotonic() + self.patience
        while (batch := self.call("GET", f"/batch/{batch_id}"))["status"] not in ("completed", "finished"):
            assert batch["status"] in ("paused", "processing"), batch
            assert time.monotonic() < until, f"still {batch['status']}"
            time.sleep(self.interval)
        return dict(batch)

    def lose_an_answer(self, body: dict[str, Any], idempotency_key: str) -> None:
        """Sends a request and hangs up before its answer."""
        at = urlsplit(self.base)
        raw = json.dumps(body).encode()
        head = {**self.headers, "x-idempotency-key": idempotency_key, "Content-Length": str(len(raw))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        with socket.create_connection((at.hostname, at.port)) as connection:
            start = f"POST {at.path}/jobs HTTP/1.1\r\nHost: {at.netloc}\r\n{lines}\r\n"
            connection.sendall(start.encode() + raw)
            connection.recv(1)


class Receiver:
    """Takes webhooks. Refuses the first of each path that begins with /flaky, to see it again."""

    def __init__(self) -> None:
        self.posts: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
        refused: set[str] = set()
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                posts.put((self.path, self.headers["X-Tornado-Signature"], raw))
                first = self.path.startswith("/flaky") and self.path not in refused
                refused.add(self.path)
                self.send_response(500 if first else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, path: str) -> tuple[str, bytes]:
        """(signature, raw body) of the next one; all that come are for this path."""
        found, signature, raw = self.posts.get(timeout=60)
        assert found == path, found
        return signature, raw


def genuine(secret: str, signature: str, raw: bytes) -> bool:
    parts = dict(part.split("=", 1) for part in signature.split(","))
    mac = hmac.new(secret.encode(), f"{parts['t']}.".encode() + raw, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, parts["v1"]) and abs(time.time() - int(parts["t"])) <= TOLERANCE


def refused(status: int, text: str, ask: Any, *args: Any) -> None:
    try:
        answer = ask(*args)
    except ApiError as error:
        assert (error.status, error.text) == (status, text), error
        return
    raise AssertionError(f"was not refused: {answer}")


def keys(client: Client, base: str) -> None:
    refused(401, "Invalid API Key", Client(base, "sk_" + "0" * 32).call, "GET", "/usage")
    answer = requests.get(f"{base}/usage", timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"error": "Missing x-api-key header"})
    assert client.call("GET", "/usage")["usage_count"] == 0


def one_job(client: Client, hook: str, link: str, size: int, sha256: str) -> dict[str, Any]:
    key = str(uuid.uuid4())
    body = {"url": link, "webhook_url": hook, "folder": "films"}
    client.lose_an_answer(body, key)
    created = client.create(body.pop("url"), key, **body)
    again = client.create(link, key, **body)
    assert (created["job_id"], created["cached"], again) == (again["job_id"], True, created), (created, again)
    try:
        client.create(link, key, folder="series")
    except ApiError as error:
        assert error.status == 409, error
    else:
        raise AssertionError("one idempotency key was good for two different jobs")
    assert client.call("GET", "/jobs")["total"] == 1

    job = client.wait(created["job_id"])
    assert (job["status"], job["step"], job["error"]) == ("Completed", "Finished", None), job
    assert (job["url"], job["folder"], job["file_size"]) == (link, "films", size), job
    assert job["created_at"] <= job["finished_at"] <= time.time() * 1000 + 1000, job
    content = requests.get(job["s3_url"], timeout=60).content
    assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256)

    refused(400, "Only failed jobs can be retried", client.call, "POST", f"/jobs/{job['id']}/retry")
    refused(
        400,
        "Job cannot be cancelled (not in queue or already processing)",
        client.call,
        "DELETE",
        f"/jobs/{job['id']}",
    )
    deleted = client.call("DELETE", f"/jobs/{job['id']}/file")
    assert deleted["message"] == "File deleted successfully", deleted
    assert (deleted["job_id"], deleted["deleted_key"]) == (job["id"], job["s3_key"]), deleted
    assert client.job(job["id"])["s3_key"] is None
    refused(400, "Job has no file to delete", client.call, "DELETE", f"/jobs/{job['id']}/file")
    return job


def told(client: Client, receiver: Receiver, job: dict[str, Any]) -> None:
    secret = client.call("GET", "/user/webhook-secret")["webhook_signing_secret"]
    tries = [receiver.next("/flaky") for _ in range(2)]
    assert all(genuine(secret, *one) for one in tries)
    assert not genuine(secret, tries[1][0], tries[1][1] + b" ")
    assert not genuine("whsec_of_somebody_else", *tries[1])
    assert tries[0][1] == tries[1][1], "what is told again must be the same"
    assert tries[0][0] != tries[1][0], "and signed anew"
    said = json.loads(tries[1][1])
    assert (said["type"], said["status"]) == ("job_completed", "completed"), said
    assert (said["job_id"], said["key"], said["folder"]) == (job["id"], job["s3_key"], "films"), said
    until = time.monotonic() + client.patience
    while (shown := client.job(job["id"])).get("webhook_attempts") != 2:
        assert time.monotonic() < until, shown
        time.sleep(client.interval)
    assert (shown["webhook_status"], shown["webhook_last_error"]) == ("delivered", None), shown


def failure(client: Client, gone: str) -> None:
    first = client.wait(client.create(gone)["job_id"])
    assert (first["status"], first["s3_url"]) == ("Warning", None), first
    assert first["error"], first
    retried = client.call("POST", f"/jobs/{first['id']}/retry")
    assert retried["message"] == "Job re-queued successfully", retried
    assert (retried["original_job_id"], retried["job_id"] != first["id"]) == (first["id"], True), retried
    assert client.wait(retried["job_id"])["status"] == "Warning"
    assert client.job(first["id"]) == first, "the original must stay as it was"


def batch(client: Client, links: list[str], gone: str) -> None:
    names = [{"url": link} for link in [*links, gone, links[0]]]
    made = client.call("POST", "/jobs/bulk", {"jobs": names, "folder": "show", "paused": True})
    assert made["total_jobs"] == len(made["job_ids"]) == len(names), made
    path = f"/batch/{made['batch_id']}"
    shown = client.call("GET", path)
    assert (shown["status"], shown["episode_jobs"]) == ("paused", made["job_ids"]), shown

    renames = [{"job_id": made["job_ids"][0], "filename": "01 - Pilot"}]
    assert client.call("PATCH", f"{path}/jobs", {"renames": renames}) == {"updated": 1, "errors": []}
    cancelled = made["job_ids"].pop()
    answer = client.call("DELETE", f"/jobs/{cancelled}")
    assert answer == {"message": "Job cancelled successfully", "job_id": cancelled}, answer
    job = client.job(cancelled)
    assert (job["status"], job["step"], job["error"]) == ("Failed", "Cancelled", "Job cancelled by user"), job

    started = client.call("POST", f"{path}/start")
    assert started == {"batch_id": made["batch_id"], "started_jobs": len(names) - 1, "status": "processing"}, started
    over = client.wait_for_batch(made["batch_id"])
    counts = (over["status"], over["total_episodes"], over["completed_episodes"], over["failed_episodes"])
    assert counts == ("finished", len(names), len(links), 2), over
    assert client.job(made["job_ids"][0])["s3_key"].startswith("01 - Pilot")
    refused(
        400, "Batch is not paused. Only paused batches can be renamed.", client.call, "PATCH", f"{path}/jobs",
        {"renames": renames},
    )  # fmt: skip


def lists(client: Client) -> None:
    everything = client.call("GET", "/jobs?limit=100")
    completed = [job["id"] for job in everything["jobs"] if job["status"] == "Completed"]
    page = client.call("GET", "/jobs?status=completed&limit=1&offset=1")
    assert (page["total"], page["limit"], page["offset"]) == (len(completed), 1, 1), page
    assert [job["id"] for job in page["jobs"]] == completed[1:2], "newest first"
    assert everything["total"] == len(everything["jobs"])
    assert client.call("GET", "/usage")["usage_count"] == everything["total"]


def looking(client: Client, video: str) -> None:
    found = client.call("POST", "/metadata", {"url": video})
    assert found["title"], found
    assert {"duration", "extractor", "uploader", "thumbnail", "view_count", "upload_date"} <= found.keys(), found
    assert client.call("POST", "/is-short", {"url": video})["is_short"] is False


def main() -> None:
    task = json.load(sys.stdin)
    client = Client(task["base"], task["key"], task["auth"], interval=task["interval"])
    keys(client, task["base"])
    receiver = Receiver()
    job = one_job(client, f"{receiver.url}/flaky", task["link"], task["size"], task["sha256"])
    failure(client, task["gone"])
    batch(client, task["links"], task["gone"])
    lists(client)
    looking(client, task["video"])
    told(client, receiver, job)  # last, because the server waits a while before it tries again
    print("ok")  # noqa: T201 - its result


if __name__ == "__main__":
    main()
