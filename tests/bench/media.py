#!/usr/bin/env python3
"""A bundle of 10,000 requests at the CA: how fast it is answered, how much memory that takes, and how fast the same bundle
gets the same answer again. Keys of CA in SoftHSM, the ledger on disk.

    tests/bench/media.py BUILD [--requests N] [--disk DIRECTORY]
"""
import argparse
import os
import pathlib
import subprocess
import tempfile
import time


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def measured(*command):
    """Seconds, and the largest resident size in MiB."""
    begin = time.monotonic()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f'{command[0]} failed: {status}')
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def bench(build, directory, requests):
    ca, stick = directory / 'ca', directory / 'stick'
    program = build / 'fleetroot-ca'
    run(program, 'init', '--home', ca, '--name', 'Bench')
    run(program, 'order', 'create', '--home', ca, '--id', 'PO-1', '--pattern', 'BENCH-[0-9]+', '--quantity', requests)
    run('openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=st-x',
        '-keyout', directory / 'st.key', '-out', directory / 'st.csr')
    run(program, 'station', 'enroll', '--home', ca, '--name', 'st-x', '--request', directory / 'st.csr', '--out',
        directory / 'st.pem')
    stick.mkdir()
    print(subprocess.run([build / 'tests/bench/make_bundle', directory / 'st.pem', directory / 'st.key',
                          ca / 'issuing-ca.pem', 'PO-1', str(requests), stick / 'x.request'],
                         check=True, capture_output=True, text=True).stdout.strip())
    for name in ('answered', 'the same again'):
        seconds, memory = measured(program, 'media', 'process', '--home', ca, stick)
        print(f'{name:<15} {seconds:8.2f} s {requests / seconds:8.0f} requests/s {memory:8.0f} MiB at most')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--requests', type=int, default=10_000)
    parser.add_argument('--disk', type=pathlib.Path, default=pathlib.Path('/var/tmp'))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='fleetroot-bench-', dir=arguments.disk) as directory:
        bench(arguments.build.resolve(), pathlib.Path(directory), arguments.requests)


if __name__ == '__main__':
    main()
