"""What a certification harness's page and command line do: look at the streams and play what came.

usage: player.py STREAM

The page reaches the server at https://0.0.0.0:1234 through a reverse proxy that takes /pushav off the
path. Standard output gets the stream as the page sees it.
"""

import http.server
import json
import sys
import threading
import warnings

import requests

stream = int(sys.argv[1])
warnings.simplefilter("ignore")


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/pushav/"):
            return self.send_error(404)
        headers = {name: value for name, value in self.headers.items() if name.lower() == "range"}
        headers |= {"X-Forwarded-For": "192.0.2.77", "X-Forwarded-Proto": "http",
                    "X-Forwarded-Prefix": "/pushav"}
        answer = requests.get("https://0.0.0.0:1234" + self.path.removeprefix("/pushav"),
                              headers=headers, verify=False, timeout=5)
        self.send_response(answer.status_code)
        for name in ["content-type", "content-range", "etag"]:
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_):
        pass


proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{proxy.server_port}/pushav"


def get(path, **more):
    answer = requests.get(base + path, timeout=5, **more)
    answer.raise_for_status()
    return answer


def seen():
    """The stream, after what the page does with every field."""
    streams = {entry["id"]: entry for entry in get("/streams").json()["streams"]}
    found = streams[stream]
    for upload in found["error_uploads"]:
        assert isinstance(upload["file_path"], str) and all(isinstance(r, str) for r in upload["reasons"])
    for upload in found["invalid_files"]:
        assert isinstance(upload["file_path"], str) and isinstance(upload["validation_error_reason"], str)
    assert found["valid_files"] == [upload["file_path"] for upload in found["valid_uploads"]]
    return found


found = seen()
paths = [upload["file_path"] for upload in found["valid_uploads"]]
manifest = next((path for path in paths if path.endswith(".mpd")), None)
manifest = manifest or next((path for path in paths if path.endswith(".m3u8") and "index" in path), None)
types = {"mpd": "application/dash+xml", "m3u8": "application/vnd.apple.mpegurl", "init": "video/mp4",
         "m4s": "video/iso.segment"}
for path in paths:
    answer = get(f"/streams/{stream}/{path}")
    kind = path.rsplit(".", 1)[-1]
    assert answer.headers["content-type"] == types.get(kind, answer.headers["content-type"]), path
    part = get(f"/streams/{stream}/{path}", headers={"Range": "bytes=0-3"})
    assert part.status_code == 206 and part.content == answer.content[:4], path
if manifest and manifest.endswith(".mpd"):
    # The command line looks for a literal start of a period.
    assert "<Period>" in get(f"/streams/{stream}/{manifest}").text
print(json.dumps({"manifest": manifest, "stream": found}))
