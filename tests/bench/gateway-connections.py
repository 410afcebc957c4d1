#!/usr/bin/env python3
"""Full mutual TLS 1.3 handshakes at the gateway: how many a second, next to nginx, and how many wait at little cost.

    gateway-connections.py rate [SECONDS]      fleetroot-gateway, registry check included, and nginx, taking turns
    gateway-connections.py idle [COUNT]        so many connections held at once; the gateway's memory

Programs come from PATH; everything happens in a directory of its own on 127.0.0.1.
"""
import concurrent.futures
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PKI = HERE.parent / 'cli' / 'software-pki'
CLIENTS = 4


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Gateway:
    name = 'fleetroot-gateway'

    def __init__(self):
        run('fleetroot-gateway', 'init', '--home', 'gw', '--name', '127.0.0.1', '--environment', 'production')
        run('fleetroot-gateway', 'fleet-root', 'add', '--home', 'gw', '--environment', 'production', 'pki/root.pem')
        self.ca = 'gw/environments/production/gateway-root.pem'
        self.process = subprocess.Popen(
            ['fleetroot-gateway', 'serve', '--home', 'gw', '--listen', 'production=127.0.0.1:0'],
            stdout=open('gw.log', 'w'))
        while not (found := re.search(r'https://127.0.0.1:(\d+)', pathlib.Path('gw.log').read_text())):
            if self.process.poll() is not None:
                sys.exit('the gateway does not start')
            time.sleep(0.05)
        self.port = int(found[1])

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Nginx:
    name = 'nginx'

    def __init__(self):
        with socket.create_server(('127.0.0.1', 0)) as probe:
            self.port = probe.getsockname()[1]
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=nginx',
            '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'nginx.key', '-out', 'nginx.pem')
        self.ca = 'nginx.pem'
        here = os.getcwd()
        pathlib.Path('nginx.conf').write_text(f'''
worker_processes 2; daemon off; pid {here}/nginx.pid; error_log {here}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; server {{
  listen 127.0.0.1:{self.port} ssl; ssl_certificate {here}/nginx.pem; ssl_certificate_key {here}/nginx.key;
  ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
  ssl_client_certificate {here}/pki/root.pem; ssl_verify_client on; ssl_verify_depth 2;
  location / {{ return 200 "ok"; }} }} }}''')
        self.process = subprocess.Popen(['nginx', '-c', f'{here}/nginx.conf', '-e', f'{here}/nginx.log'])
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
                return
            except OSError:
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def context_for(server, device):
    context = ssl.create_default_context(cafile=server.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(f'{device}.pem', f'{device}.key')
    return context


def connect(server, context):
    raw = socket.create_connection(('127.0.0.1', server.port))
    return context.wrap_socket(raw, server_hostname='127.0.0.1')


def shake(server, context):
    """One handshake that the server has agreed to: in TLS 1.3 only its answer shows that it has."""
    with connect(server, context) as connection:
        connection.sendall(b'GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        answer = connection.recv(4096)
        if b' 200 ' not in answer:
            raise RuntimeError(answer)


def shake_for(server, device, seconds):
    context = context_for(server, device)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        shake(server, context)
        count += 1
    return count / seconds


def shake_each(server, devices):
    begin = time.monotonic()
    for device in devices:
        shake(server, context_for(server, device))
    return len(devices) / (time.monotonic() - begin)


def rate(seconds='5'):
    servers = [Gateway(), Nginx()]
    run(str(PKI), 'device', 'pki', 'dev', 'dev')
    fresh = [f'new-{i}' for i in range(CLIENTS * 25)]
    for device in fresh:
        run(str(PKI), 'device', 'pki', device, device)
    rates = {server.name: [] for server in servers}
    with concurrent.futures.ProcessPoolExecutor(CLIENTS) as pool:
        for _ in range(3):
            for server in servers:
                futures = [pool.submit(shake_for, server_of(server), 'dev', float(seconds)) for _ in range(CLIENTS)]
                rates[server.name].append(sum(future.result() for future in futures))
        parts = [fresh[i::CLIENTS] for i in range(CLIENTS)]
        first = sum(f.result() for f in [pool.submit(shake_each, server_of(servers[0]), part) for part in parts])
        known = sum(f.result() for f in [pool.submit(shake_each, server_of(servers[1]), part) for part in parts])
    for server in servers:
        print(f'{server.name:<18} {statistics.median(rates[server.name]):8.0f} handshakes/s, {CLIENTS} clients beside it')
        server.stop()
    ratio = statistics.median(rates['fleetroot-gateway']) / statistics.median(rates['nginx'])
    print(f'{"ratio":<18} {ratio:8.2f}')
    print(f'{"first contact":<18} {first:8.0f} registrations/s; nginx with the same clients {known:.0f}: ratio {first / known:.2f}')


class server_of:
    """What a client process needs to know of a server."""

    def __init__(self, server):
        self.port, self.ca = server.port, server.ca


def idle(count='10000'):
    count = int(count)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        sys.exit(f'gateway-connections: error: this user may open {hard} files only')
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Gateway()
    run(str(PKI), 'device', 'pki', 'dev', 'dev')
    context = context_for(server, 'dev')
    held = [connect(server, context) for _ in range(count)]
    shake(server, context)
    for connection in (held[0], held[-1]):
        connection.sendall(b'GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n')
        if b' 200 ' not in connection.recv(4096):
            sys.exit('gateway-connections: error: a connection that waited is no longer served')
    status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
    resident = int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])
    print(f'{count} idle mutual-TLS connections: {resident / 1024:.0f} MiB resident, {resident / count:.1f} KiB each; '
          'a new one is still admitted')
    server.stop()
    if resident > 1024 * 1024 * max(count, 1000) / 10000:
        sys.exit('gateway-connections: error: more than 1 GiB for 10,000')


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ('rate', 'idle'):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.mkdir('pki')
        run(str(PKI), 'root', 'pki', 'Fleet Root')
        {'rate': rate, 'idle': idle}[sys.argv[1]](*sys.argv[2:])


if __name__ == '__main__':
    main()
