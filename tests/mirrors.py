"""A server on loopback that stands for download mirrors in every state they have been seen in."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BROKEN = ["404", "503", "html", "empty", "flipped", "cut", "flood", "loop", "stall", "hangup"]


class Mirror(BaseHTTPRequestHandler):
    """The first folder of the path says how this mirror behaves."""

    def do_GET(self):
        _, how, file = self.path.split("/")
        self.server.asked.append((how, file))
        content = self.server.files[file.removesuffix(".gz")]
        if how in ("404", "503"):
            self.send_error(int(how))
        elif how == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif how == "stall":
            self.server.finished.wait(5)
        elif how == "flood":
            self.send_response(200)
            self.end_headers()
            for _ in range(200):
                self.wfile.write(bytes(1 << 16))
        elif how != "hangup":
            wrong = {
                "html": b"<html>parked</html>",
                "empty": b"",
                "flipped": content[:-1] + b"\1",
                "cut": content[:-9],
            }
            self.send_response(200)
            self.send_header("Content-Length", str(len(content if how == "cut" else wrong.get(how, content))))
            self.end_headers()
            self.wfile.write(wrong.get(how, content))

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # the client had enough, as it should of a flood
            super().handle()


@contextmanager
def serving(files):
    """A running server of `files` (content by name without .gz); `base` is its URL, `asked` what was wanted of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.files, server.asked, server.finished = files, [], threading.Event()
    server.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.finished.set()
        server.shutdown()
        server.server_close()
        thread.join()
