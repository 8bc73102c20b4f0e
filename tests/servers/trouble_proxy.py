#!/usr/bin/env python3
"""A proxy on loopback that makes trouble between coffer and a store of the tests, as a file says.

usage: trouble_proxy.py PORT UPSTREAM-PORT TLS-DIRECTORY MODE-FILE

Speaks TLS on 127.0.0.1:PORT with server.pem of the directory (mkcert.sh), and to https://127.0.0.1:UPSTREAM-PORT. The first
word of the mode file says what happens to a request, and may change at any time:

  ok           passed on                        status-N     answered with N, not passed on
  down         the connection is closed         stall        not answered while the mode stays
  cut-up       half of the body is passed on    cut-down     half of the answer is
  lost         done, and not answered           slow         passed on at about 50 kB a second
  certificate  another's certificate            mix-P        P of 100 requests meet one of the others, by chance
"""
import http.client
import os
import random
import socket
import ssl
import sys
import threading
import time

CUT = ("down", "status-500", "status-503", "status-429", "cut-up", "cut-down", "lost")


class Gone(Exception):
    """The connection is to be closed."""


def mode_of(path):
    with open(path, encoding="ascii") as f:
        return (f.read().split() or ["ok"])[0]


def chosen(mode):
    if not mode.startswith("mix-"):
        return mode
    return random.choice(CUT) if random.randrange(100) < int(mode[4:]) else "ok"


def read_request(stream):
    line = stream.readline(65536)
    if not line:
        raise Gone
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers = []
    while (line := stream.readline(65536)) not in (b"\r\n", b""):
        name, value = line.decode("latin-1").split(":", 1)
        headers.append((name, value.strip()))
    return method, target, headers


def value_of(headers, name):
    return next((v for n, v in headers if n.lower() == name), None)


def read_body(stream, sock, headers):
    if (value_of(headers, "expect") or "").lower() == "100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if (value_of(headers, "transfer-encoding") or "").lower() == "chunked":
        body = b""
        while (size := int(stream.readline().split(b";")[0], 16)) > 0:
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    return stream.read(int(value_of(headers, "content-length") or 0))


def answer(sock, status, reason, headers, body, length=None):
    head = f"HTTP/1.1 {status} {reason}\r\n"
    for name, value in headers:
        if name.lower() not in ("transfer-encoding", "content-length", "connection"):
            head += f"{name}: {value}\r\n"
    sock.sendall((head + f"Content-Length: {len(body) if length is None else length}\r\n\r\n").encode("latin-1"))
    return body


def send_slowly(sock, data):
    for at in range(0, len(data), 5000):
        sock.sendall(data[at : at + 5000])
        time.sleep(0.1)


def pass_on(upstream, method, target, headers, body):
    upstream.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        if name.lower() not in ("expect", "transfer-encoding", "content-length", "connection"):
            upstream.putheader(name, value)
    if body or method in ("PUT", "POST", "PROPFIND"):
        upstream.putheader("Content-Length", str(len(body)))
    upstream.endheaders()


def serve(sock, upstream, mode_file, other):
    stream = sock.makefile("rb")
    while True:
        method, target, headers = read_request(stream)
        mode = chosen(mode_of(mode_file))
        if mode == "down" or (mode == "certificate") != other:
            raise Gone
        if mode == "stall":
            while mode_of(mode_file) == "stall":
                time.sleep(0.1)
            raise Gone
        body = read_body(stream, sock, headers)
        if mode.startswith("status-"):
            asks = [("WWW-Authenticate", 'Basic realm="dav"')] if mode == "status-401" else []
            answer(sock, int(mode[7:]), "Trouble", asks, b"")
            continue
        if mode == "slow":
            time.sleep(len(body) / 50000)
        pass_on(upstream, method, target, headers, body)
        if mode == "cut-up":
            upstream.send(body[: len(body) // 2])
            raise Gone
        if body:
            upstream.send(body)
        reply = upstream.getresponse()
        content = reply.read()
        if mode == "lost":
            raise Gone
        length = int(reply.headers.get("Content-Length", 0)) if method == "HEAD" else len(content)
        answer(sock, reply.status, reply.reason, reply.headers.items(), content, length)
        if mode == "cut-down":
            sock.sendall(content[: len(content) // 2])
            raise Gone
        if mode == "slow":
            send_slowly(sock, content)
        else:
            sock.sendall(content)


def connection(raw, upstream_port, tls, mode_file):
    upstream = http.client.HTTPSConnection("127.0.0.1", upstream_port, context=ssl._create_unverified_context())
    try:
        mode = mode_of(mode_file)
        if mode == "down":
            return
        other = mode == "certificate"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(tls, "stranger.pem" if other else "server.pem"))
        context.set_alpn_protocols(["http/1.1"])
        with context.wrap_socket(raw, server_side=True) as sock:
            serve(sock, upstream, mode_file, other)
    except (Gone, OSError, ValueError, http.client.HTTPException):
        pass  # one connection less: that is what this is for
    finally:
        raw.close()
        upstream.close()


def main():
    port, upstream_port, tls, mode_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    with socket.create_server(("127.0.0.1", port), backlog=100) as listener:
        while True:
            raw, _ = listener.accept()
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=connection, args=(raw, upstream_port, tls, mode_file), daemon=True).start()


if __name__ == "__main__":
    main()
