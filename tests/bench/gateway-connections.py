#!/usr/bin/env python3
"""Full mutual TLS 1.3 handshakes at the gateway: how many a second, next to nginx, and how many wait at little cost.

    gateway-connections.py rate [SECONDS]      fleetroot-gateway, registry check included, and nginx, taking turns
    gateway-connections.py idle [COUNT]        so many connections held at once; the gateway's memory

Programs come from PATH; everything happens in a directory of its own on 127.0.0.1.
"""
import multiprocessing
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
ROUNDS = 5
NEWCOMERS = 400
OF_ONE_DEVICE = 10  # connections; the gateway allows 16


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
        # A root and a certificate under it, as the gateway has.
        new = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
        run(*new, '-subj', '/CN=nginx root', '-keyout', 'nginx-root.key', '-out', 'nginx-root.pem')
        run(*new, '-subj', '/CN=nginx', '-CA', 'nginx-root.pem', '-CAkey', 'nginx-root.key',
            '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'nginx.key', '-out', 'nginx.pem')
        self.ca = 'nginx-root.pem'
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


def processor_seconds(server):
    """What a server and its workers have used so far."""
    total = 0
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if server.process.pid in (int(stat.parent.name), int(fields[1])):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf('SC_CLK_TCK')


def shake_with_openssl(server, seconds):
    """CLIENTS times openssl s_time: handshakes a second, and the server's processor time for each in microseconds."""
    before, begin = processor_seconds(server), time.monotonic()
    clients = [subprocess.Popen(
        ['openssl', 's_time', '-connect', f'127.0.0.1:{server.port}', '-new', '-tls1_3', '-time', seconds, '-www', '/whoami',
         '-cert', 'dev.pem', '-key', 'dev.key', '-CAfile', 'dev.chain'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(CLIENTS)]
    outputs = [client.communicate()[0] for client in clients]
    elapsed = time.monotonic() - begin
    found = [re.search(r'(\d+) connections in \d+ real', output) for output in outputs]
    if not all(found):
        sys.exit(f'gateway-connections: error: openssl s_time: {outputs}')
    count = sum(int(match[1]) for match in found)
    return count / elapsed, (processor_seconds(server) - before) / count * 1e6


def shake_each(server, contexts):
    for context in contexts:
        shake(server, context)


def shake_once_each(server, devices):
    """Every device once, from CLIENTS processes that have read their certificates before: handshakes a second."""
    contexts = [context_for(server, device) for device in devices]
    begin = time.monotonic()
    clients = [multiprocessing.Process(target=shake_each, args=(server, contexts[i::CLIENTS])) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        if client.exitcode != 0:
            sys.exit('gateway-connections: error: a client was not served')
    return len(devices) / (time.monotonic() - begin)


def admitted(server):
    """Devices that the registry knows."""
    listed = subprocess.run(['fleetroot-gateway', 'device', 'list', '--home', 'gw', '--environment', 'production', '--json'],
                            check=True, capture_output=True, text=True).stdout
    return listed.count('"device_id"')


def spread(values):
    return f'{statistics.median(values):8.0f} ({min(values):.0f} to {max(values):.0f})'


def rate(seconds='4'):
    gateway, nginx = servers = [Gateway(), Nginx()]
    run(str(PKI), 'device', 'pki', 'dev', 'dev')
    # s_time sends what it finds above its certificate among those that it trusts.
    pathlib.Path('dev.chain').write_text(
        ''.join(pathlib.Path(path).read_text() for path in (gateway.ca, nginx.ca, 'pki/ca.pem')))
    rates, costs = {gateway: [], nginx: []}, {gateway: [], nginx: []}
    for _ in range(ROUNDS):
        for server in servers:
            per_second, cost = shake_with_openssl(server, seconds)
            rates[server].append(per_second)
            costs[server].append(cost)
    print(f'full TLS 1.3 handshakes with client certificates, {CLIENTS} clients on the same {os.cpu_count()} cores:')
    for server in servers:
        print(f'  {server.name:<18} {spread(rates[server])} a second, {spread(costs[server])} us of the server each')
    print(f'  ratio              {statistics.median(rates[gateway]) / statistics.median(rates[nginx]):8.2f}')

    firsts, others = [], []
    for round_ in range(ROUNDS):
        devices = [f'new-{round_}-{i}' for i in range(NEWCOMERS)]
        run(str(PKI), 'devices', 'pki', *devices)
        firsts.append(shake_once_each(gateway, devices))
        others.append(shake_once_each(nginx, devices))
    if admitted(gateway) != 1 + ROUNDS * NEWCOMERS:
        sys.exit('gateway-connections: error: not every device is in the registry')
    print('first contact, each device once:')
    print(f'  fleetroot-gateway  {spread(firsts)} a second, each registered durably')
    print(f'  nginx              {spread(others)} a second, which registers nobody')
    print(f'  ratio              {statistics.median(firsts) / statistics.median(others):8.2f}')
    for server in servers:
        server.stop()


def idle(count='10000'):
    count = int(count)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        sys.exit(f'gateway-connections: error: this user may open {hard} files only')
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Gateway()
    devices = [f'dev-{i}' for i in range(-(-count // OF_ONE_DEVICE))]
    run(str(PKI), 'devices', 'pki', *devices)
    contexts = [context_for(server, device) for device in devices]
    held = [connect(server, contexts[i // OF_ONE_DEVICE]) for i in range(count)]
    shake(server, contexts[0])
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
