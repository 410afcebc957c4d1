#!/usr/bin/env python3
"""Certificates per second at the CA, durable, its key in SoftHSM: through the signer's socket and over HTTPS with
keep-alive, from 1, 8 and 64 clients, and from a bundle, next to the floor (ca_load.cc) and to what others do with requests
of the same kind. Everything runs on this one machine, the clients too.

    tests/bench/ca.py BUILD [--requests N] [--bundle N] [--disk DIRECTORY]
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True,
                          **options).stdout.strip()


class Bench:
    def __init__(self, build, directory, requests):
        self.program, self.load_program = build / 'fleetroot-ca', build / 'tests/bench/ca_load'
        self.make_bundle = build / 'tests/bench/make_bundle'
        self.directory, self.requests, self.prefix = directory, requests, 0
        self.ca = directory / 'ca'
        run(self.program, 'init', '--home', self.ca, '--name', 'Bench')
        run(self.program, 'order', 'create', '--home', self.ca, '--id', 'PO-1', '--pattern', 'B[ENCH0-9-]+', '--quantity',
            10_000_000)
        run('openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj',
            '/CN=st-x', '-keyout', directory / 'st.key', '-out', directory / 'st.csr')
        run(self.program, 'station', 'enroll', '--home', self.ca, '--name', 'st-x', '--request', directory / 'st.csr',
            '--out', directory / 'st.pem')

    def load(self, what, *rest, requests=None):
        self.prefix += 1  # other devices each time
        return run(self.load_program, what, self.ca, self.directory / 'st.pem', self.directory / 'st.key', 'PO-1',
                   f'B{self.prefix}-', requests or self.requests, *rest)

    def report(self, name, rate, floor, more=''):
        print(f'{name:<34} {float(rate):8.0f}/s {100 * float(rate) / floor:6.0f} % of the floor {more}'.rstrip(), flush=True)

    def ours(self):
        self.load('floor', 2)
        floor = float(self.load('floor', 2))
        self.report('floor, 2 threads', floor, floor)
        server = subprocess.Popen([self.program, 'serve', '--home', self.ca, '--listen', '127.0.0.1:0'],
                                  stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().split()[-1]
            for clients in (1, 8, 64):
                self.report(f'signer socket, {clients} clients', self.load('socket', clients), floor)
            for clients in (1, 8, 64):
                self.report(f'HTTPS, keep-alive, {clients} clients', self.load('https', clients, url), floor)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        again = float(self.load('floor', 2))
        self.report('floor, 2 threads, again', again, floor)
        return floor

    def bundle(self, requests, floor):
        """A bundle on removable media, how much memory it takes at most, and the same bundle once more."""
        stick = self.directory / 'stick'
        stick.mkdir()
        run(self.make_bundle, self.directory / 'st.pem', self.directory / 'st.key', self.ca / 'issuing-ca.pem', 'PO-1',
            requests, stick / 'x.request')
        for name in (f'a bundle of {requests}', 'the same again'):
            begin = time.monotonic()
            child = subprocess.Popen([self.program, 'media', 'process', '--home', self.ca, stick],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            if status != 0:
                raise SystemExit(f'media process failed: {status}')
            self.report(name, requests / (time.monotonic() - begin), floor, f'{usage.ru_maxrss / 1024:6.0f} MiB')

    def csrs(self):
        place = self.directory / 'csr'
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self.load('csr', place)
        return sorted(place.iterdir())

    def openssl_ca(self, floor):
        """The CA's own key in SoftHSM, by the engine; the database is a text file that nobody syncs."""
        place = self.directory / 'openssl'
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / 'index.txt').touch()
        (place / 'serial').write_text('1000\n')
        (place / 'ca.cnf').write_text(f'''[ca]
default_ca = x
[x]
new_certs_dir = {place}
database = {place}/index.txt
serial = {place}/serial
default_md = sha256
default_days = 365
policy = any
x509_extensions = ext
unique_subject = no
[any]
commonName = supplied
[ext]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
''')
        csrs = self.csrs()
        environment = dict(os.environ, SOFTHSM2_CONF=str(self.ca / 'softhsm/softhsm2.conf'),
                           PKCS11_MODULE_PATH='/usr/lib/softhsm/libsofthsm2.so')
        serial = re.search(r'pkcs11:serial=(\w+)', (self.ca / 'ca.toml').read_text()).group(1)
        # The engine reads no PIN file of this length; it is the PIN of a token that lives as long as this run.
        pin = (self.ca / 'issuing-ca.pin').read_text()
        key = f'pkcs11:serial={serial};type=private?pin-value={pin}'
        command = ['openssl', 'ca', '-config', place / 'ca.cnf', '-batch', '-notext', '-cert',
                   self.ca / 'issuing-ca.pem', '-engine', 'pkcs11', '-keyform', 'engine', '-keyfile', key, '-out', os.devnull, '-infiles',
                   *[csr.relative_to(self.directory) for csr in csrs]]
        begin = time.monotonic()
        # It may crash when it has done its work: engine and module disagree about who goes first.
        subprocess.run([str(part) for part in command], cwd=self.directory, env=environment, capture_output=True)
        seconds = time.monotonic() - begin
        made = len(list(place.glob('*.pem')))
        if made != len(csrs):
            raise SystemExit(f'openssl ca made {made} certificates of {len(csrs)}')
        self.report('openssl ca -infiles, SoftHSM', made / seconds, floor)


    def cfssl(self, floor):
        """Its key in a file, and nobody asks who sends the requests; nothing is written."""
        if not shutil.which('cfssl'):
            print('cfssl serve: not measured, Debian package golang-cfssl is not there')
            return
        place = self.directory / 'cfssl'
        place.mkdir()
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=Bench',
            '-keyout', place / 'ca.pkcs8', '-out', place / 'ca.pem')
        run('openssl', 'ec', '-in', place / 'ca.pkcs8', '-out', place / 'ca.key')  # it reads no other
        (place / 'config.json').write_text(
            '{"signing": {"default": {"usages": ["digital signature", "client auth"], "expiry": "8760h"}}}')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(['cfssl', 'serve', '-address', '127.0.0.1', '-port', str(port), '-ca', place / 'ca.pem',
                                   '-ca-key', place / 'ca.key', '-config', place / 'config.json', '-loglevel', '5'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(('127.0.0.1', port)).close()
                    break
                except OSError:
                    if server.poll() is not None:
                        raise SystemExit('cfssl serve does not start')
            for clients in (8, 64):
                self.report(f'cfssl serve, file key, {clients} clients',
                            self.load('cfssl', clients, f'http://127.0.0.1:{port}'), floor)
        finally:
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--requests', type=int, default=4000)
    parser.add_argument('--bundle', type=int, default=10_000)
    parser.add_argument('--disk', type=pathlib.Path, default=pathlib.Path('/var/tmp'))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='fleetroot-bench-', dir=arguments.disk) as directory:
        bench = Bench(arguments.build.resolve(), pathlib.Path(directory), arguments.requests)
        floor = bench.ours()
        bench.bundle(arguments.bundle, floor)
        bench.openssl_ca(floor)
        bench.cfssl(floor)


if __name__ == '__main__':
    main()
