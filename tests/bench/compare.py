#!/usr/bin/env python3
"""What one device costs, side by side in one run: the token's own floor, `fleetroot-station provision`, and the same job
scripted with pkcs11-tool and openssl. Each is a fresh process on a fresh token; they take turns, so that a busy moment
hits all of them. Between them: that floor, while the station's and the CA's own tokens log in and sign twice in processes
of their own, which is as little as a device's three tokens can take. Prints medians, the 10th and 90th percentile, and
the ratio to the floor.

Start-up is measured from outside: a forwarding PKCS#11 module (tests/witness) notes when the station first opens a
session on the device's token, on the same clock that this script reads before it starts the process.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'
PIN = '482915'
QUIET = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}


def run(*command, **environment):
    done = subprocess.run(command, env={**os.environ, **environment}, **QUIET)
    if done.returncode != 0:
        sys.exit(f'bench: error: {command[0]} ended with {done.returncode}: {done.stdout.decode()}')
    return done.stdout.decode()


class Token:
    """One SoftHSM token in a directory of its own."""

    def __init__(self, directory, label):
        self.label = label
        self.conf = directory / 'softhsm2.conf'
        self.pin_file = directory / 'pin'
        (directory / 'tokens').mkdir(parents=True)
        self.conf.write_text(f'directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n')
        self.pin_file.touch(0o600)
        self.pin_file.write_text(PIN)  # the pkcs11 engine takes a newline for a part of the PIN
        environment = {'SOFTHSM2_CONF': str(self.conf), 'SO_PIN': '31415926', 'USER_PIN': PIN}
        tool = ['pkcs11-tool', '--module', SOFTHSM]
        run(*tool, '--init-token', '--slot-index', '0', '--label', label, '--so-pin', 'env:SO_PIN', **environment)
        run(*tool, '--token-label', label, '--login', '--login-type', 'so', '--so-pin', 'env:SO_PIN', '--init-pin',
            '--pin', 'env:USER_PIN', **environment)


class Bench:
    """Homes, CAs and tokens of one storage."""

    def __init__(self, build, directory, runs):
        self.build, self.directory, self.count = build, directory, 0
        os.environ['PATH'] = f'{build}:{os.environ["PATH"]}'
        ca, station = directory / 'ca', directory / 'st'
        run('fleetroot-ca', 'init', '--home', str(ca), '--name', 'Bench')
        run('fleetroot-ca', 'order', 'create', '--home', str(ca), '--id', 'BENCH', '--profile', 'device', '--pattern',
            'BENCH-[0-9]{6}', '--quantity', str(10 * runs + 100))
        run('fleetroot-station', 'init', '--home', str(station), '--name', 'st-01')
        run('fleetroot-ca', 'station', 'enroll', '--home', str(ca), '--name', 'st-01', '--request',
            str(station / 'station.csr'), '--out', str(directory / 'st-01.pem'))
        run('fleetroot-station', 'enroll', '--home', str(station), '--certificate', str(directory / 'st-01.pem'),
            '--ca-certificate', str(ca / 'issuing-ca.pem'), '--fleet-root', str(ca / 'fleet-root.pem'),
            '--ca', f"exec:fleetroot-ca respond --home '{ca}'")
        self.station = station
        self.scripted_ca = self.make_scripted_ca()

    def make_scripted_ca(self):
        token = Token(self.directory / 'scripted-ca', 'ca')
        environment = {'SOFTHSM2_CONF': str(token.conf), 'USER_PIN': PIN, 'PKCS11_MODULE_PATH': SOFTHSM}
        run('pkcs11-tool', '--module', SOFTHSM, '--token-label', 'ca', '--login', '--pin', 'env:USER_PIN', '--keypairgen',
            '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ca', '--usage-sign', **environment)
        self.scripted_ca_certificate = self.directory / 'scripted-ca' / 'ca.pem'
        run('openssl', 'req', '-new', '-x509', '-engine', 'pkcs11', '-keyform', 'engine', '-subj', '/CN=Scripted CA',
            '-days', '3650', '-key', f'pkcs11:token=ca;id=%01;type=private?pin-source=file:{token.pin_file}', '-out',
            str(self.scripted_ca_certificate), **environment)
        return token

    def fresh_token(self):
        self.count += 1
        directory = self.directory / f'device-{self.count}'
        directory.mkdir()
        return directory, Token(directory / 'token', 'dev-1')

    def provision_command(self, token, module=SOFTHSM):
        return ['fleetroot-station', 'provision', '--home', str(self.station), '--order', 'BENCH', '--device-id',
                f'BENCH-{self.count:06}', '--token',
                f'pkcs11:token=dev-1?module-path={module}&pin-source=file:{token.pin_file}']

    def floor_command(self, role, label, pin_file):
        return [str(self.build / 'tests/bench/floor'), role, SOFTHSM, label, str(pin_file)]

    def other_tokens(self):
        """What signs for a device besides its own token, each in a process of its own: commands and tokens."""
        station, ca = self.station, self.directory / 'ca'
        return [(self.floor_command('signer', 'st-01', station / 'station.pin'), station / 'softhsm/softhsm2.conf'),
                (self.floor_command('signer', 'issuing-ca', ca / 'issuing-ca.pin'), ca / 'softhsm/softhsm2.conf')]

    def command(self, contender, directory, token):
        if contender in ('floor', 'three floors'):
            return self.floor_command('device', 'dev-1', token.pin_file)
        if contender == 'provision':
            return self.provision_command(token)
        return [str(HERE / 'by-hand'), f'BENCH-{self.count:06}', str(token.conf), str(token.pin_file),
                str(self.scripted_ca.conf), str(self.scripted_ca.pin_file), str(self.scripted_ca_certificate),
                str(directory)]

    def measure(self, contender):
        directory, token = self.fresh_token()
        command = self.command(contender, directory, token)
        others = self.other_tokens() if contender == 'three floors' else []
        start = time.monotonic()
        beside = [subprocess.Popen(other, env={**os.environ, 'SOFTHSM2_CONF': str(conf)}, **QUIET)
                  for other, conf in others]
        run(*command, SOFTHSM2_CONF=str(token.conf))
        failed = [process.args for process in beside if process.wait() != 0]
        milliseconds = 1000 * (time.monotonic() - start)
        if failed:
            sys.exit(f'bench: error: {failed[0]} failed')
        shutil.rmtree(directory)
        return milliseconds

    def measure_start_up(self):
        directory, token = self.fresh_token()
        times = directory / 'calls'
        command = self.provision_command(token, self.build / 'tests/witness/witness.so')
        start = time.monotonic()
        run(*command, SOFTHSM2_CONF=str(token.conf), WITNESS_MODULE=SOFTHSM, WITNESS_LOG=str(times))
        first = {}
        for line in times.read_text().splitlines():
            first.setdefault(*line.split())
        shutil.rmtree(directory)
        return {name: 1000 * (float(seconds) - start) for name, seconds in first.items()}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(name, values, floor):
    print(f'  {name:<42} {statistics.median(values):8.1f} {percentile(values, 0.1):8.1f} {percentile(values, 0.9):8.1f}'
          f' {statistics.median(values) / floor:8.2f}')


def compare(build, directory, runs):
    bench = Bench(build, directory, runs)
    contenders = {'floor': 'raw Cryptoki, fresh process (floor)',
                  'three floors': "the same, and station's and CA's tokens",
                  'provision': 'fleetroot-station provision, CA by exec', 'by-hand': 'pkcs11-tool + openssl'}
    results = {contender: [] for contender in contenders}
    start_ups = []
    for contender in contenders:
        bench.measure(contender)  # warms the page cache
    for _ in range(runs):
        for contender in contenders:
            results[contender].append(bench.measure(contender))
        start_ups.append(bench.measure_start_up())
    floor = statistics.median(results['floor'])
    print(f'  {"ms for one device":<42} {"median":>8} {"p10":>8} {"p90":>8} {"x floor":>8}')
    for contender, text in contenders.items():
        row(text, results[contender], floor)
    for function in ('C_Initialize', 'C_OpenSession'):
        row(f'station start to first {function}', [start_up[function] for start_up in start_ups], floor)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--runs', type=int, default=25)
    parser.add_argument('--disk', type=pathlib.Path, default=pathlib.Path('/var/tmp'))
    parser.add_argument('--tmpfs', type=pathlib.Path, default=pathlib.Path('/dev/shm'))
    arguments = parser.parse_args()
    for name, where in (('disk', arguments.disk), ('tmpfs', arguments.tmpfs)):
        with tempfile.TemporaryDirectory(prefix='fleetroot-bench-', dir=where) as directory:
            print(f'tokens and homes on {name} ({where}), {arguments.runs} runs each, {os.cpu_count()} cores')
            compare(arguments.build.resolve(), pathlib.Path(directory), arguments.runs)
            print()


if __name__ == '__main__':
    main()
