#!/usr/bin/env bats
# Stock `openssl cmp` against fleetroot-ca serve, our station against OpenSSL's own server, and bad company.
load ../cli/factory
load ../cli/serve

make_request() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
}

# A CA, and a station that is nothing but files.
make_strangers() {
  make_ca
  make_order PO-1 "$@"
  make_request st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st-01.csr --out st-01.pem
  local device
  for device in "$@"; do make_request "$device"; done
}

# enroll DEVICE OPTION…: stock p10cr over TLS, as st-01 unless the options say otherwise
enroll() {
  openssl cmp -cmd p10cr -server "$address" -path ".well-known/cmp/p/PO-1" -no_proxy 127.0.0.1 -tls_used \
    -tls_trusted ca/fleet-root.pem -tls_host 127.0.0.1 -csr "$1.csr" -certout "$1.pem" \
    -recipient "/CN=Test Factory Issuing CA" -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem "${@:2}"
}

as_station=(-cert st-01.pem -key st-01.key)
tls_as_station=(-tls_cert st-01.pem -tls_key st-01.key)

@test "stock openssl cmp gets a certificate over mutual TLS, and confirms it" {
  make_strangers DEV-1
  begin_serving
  enroll DEV-1 "${as_station[@]}" "${tls_as_station[@]}"
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem DEV-1.pem
  [[ $(openssl x509 -in DEV-1.pem -noout -pubkey) == "$(openssl pkey -in DEV-1.key -pubout)" ]]
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .confirmation) == accepted ]]
  end_serving
}

@test "stock openssl cmp is refused without a station's certificate, in TLS and in CMP" {
  make_strangers DEV-1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout st-99.key -subj /CN=st-99 -out st-99.pem \
    2>/dev/null
  begin_serving
  run ! enroll DEV-1 "${as_station[@]}"
  run ! enroll DEV-1 "${as_station[@]}" -tls_cert st-99.pem -tls_key st-99.key
  run ! enroll DEV-1 -cert st-99.pem -key st-99.key "${tls_as_station[@]}"
  [[ $output == *'knows no station with this key'* ]]
  [[ ! -e DEV-1.pem && $(certificates_in_ledger) == 0 ]]
}

@test "without client certificates the messages protect themselves" {
  make_strangers DEV-1
  begin_serving --no-client-certificate
  run ! enroll DEV-1 -secret pass:x -ref 1
  enroll DEV-1 "${as_station[@]}"
}

# revoke CERTIFICATE STATION [OPTION…]: stock rr over mutual TLS
revoke() {
  openssl cmp -cmd rr -server "$address" -path .well-known/cmp -no_proxy 127.0.0.1 -tls_used -tls_trusted ca/fleet-root.pem \
    -tls_host 127.0.0.1 -tls_cert "$2.pem" -tls_key "$2.key" -cert "$2.pem" -key "$2.key" -oldcert "$1" \
    -recipient "/CN=Test Factory Issuing CA" -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem "${@:3}"
}

# entry_of CERTIFICATE: its entry in the ledger
entry_of() {
  local serial
  serial=$(openssl x509 -in "$1" -noout -serial)
  fleetroot-ca cert show --home ca --serial "${serial#serial=}" --json
}

@test "a station revokes with stock openssl cmp what it asked for, and itself, and nothing else" {
  make_strangers DEV-1 DEV-2
  make_request st-02
  fleetroot-ca station enroll --home ca --name st-02 --request st-02.csr --out st-02.pem
  begin_serving
  enroll DEV-1 "${as_station[@]}" "${tls_as_station[@]}"
  enroll DEV-2 "${as_station[@]}" "${tls_as_station[@]}"

  run ! revoke DEV-1.pem st-02
  [[ $output == *'st-02 may not revoke'* ]]
  run ! revoke st-01.pem st-02
  # TLS as one station does not help the other's message
  run ! revoke DEV-1.pem st-02 "${tls_as_station[@]}"
  [[ $( (entry_of DEV-1.pem; entry_of st-01.pem) | jq -r .state | xargs) == 'issued issued' ]]

  revoke DEV-1.pem st-01 -revreason 1
  entry_of DEV-1.pem >first
  [[ $(jq -r '.state + " " + .revocation_reason' first) == 'revoked keyCompromise' ]]
  log=$(fleetroot-ca ledger verify --home ca)
  revoke DEV-1.pem st-01 -revreason 4 # asked twice: what was said first stays, and is on record once
  cmp first <(entry_of DEV-1.pem)
  [[ $(fleetroot-ca ledger verify --home ca) == "$log" ]]
  fleetroot-ca crl publish --home ca
  on_list() { openssl verify -crl_check -CRLfile ca/crl.pem -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem "$1"; }
  run ! on_list DEV-1.pem
  [[ $output == *'certificate revoked'* ]]
  on_list DEV-2.pem

  revoke st-01.pem st-01 # its last word
  [[ $(entry_of st-01.pem | jq -r .state) == revoked ]]
  run ! revoke DEV-2.pem st-01
  grep 'station st-01 is revoked' serve.err
  run ! revoke DEV-2.pem st-01 -tls_cert st-02.pem -tls_key st-02.key
  [[ $output == *'st-01 is revoked'* ]]
  [[ $(entry_of DEV-2.pem | jq -r .state) == issued ]]
  end_serving
}

@test "TLS is 1.2 or 1.3, with forward secrecy, and nothing is resumed" {
  make_strangers DEV-1
  begin_serving --no-client-certificate
  hello=(openssl s_client -connect "$address" -CAfile ca/fleet-root.pem -verify_return_error -verify_ip 127.0.0.1)
  "${hello[@]}" -tls1_3 </dev/null | grep 'TLSv1.3'
  "${hello[@]}" -tls1_2 </dev/null | grep 'ECDHE-ECDSA-'
  run ! "${hello[@]}" -tls1_1 -cipher 'DEFAULT@SECLEVEL=0' </dev/null
  run ! "${hello[@]}" -tls1_2 -cipher 'AES128-SHA:ECDHE-ECDSA-AES128-SHA' </dev/null
  "${hello[@]}" -tls1_2 -sess_out session </dev/null
  [[ ! -s session ]] || "${hello[@]}" -tls1_2 -sess_in session </dev/null | grep '^New, '
  gnutls-cli --x509cafile ca/fleet-root.pem --port "${address#*:}" 127.0.0.1 </dev/null | grep 'Handshake was completed'
}

# Clients in every stage that a server can be kept waiting in. Nobody needs a certificate to come past the handshake.
make_clients() {
  cat >clients.py <<'EOF'
import socket, ssl
def connect(address):
    host, port = address.split(':')
    return socket.create_connection((host, int(port)))
context = ssl.create_default_context(cafile='ca/fleet-root.pem')
def shake_hands(address):
    return context.wrap_socket(connect(address), server_hostname=address.split(':')[0])
def hello():
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname='127.0.0.1').do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
class Slow:  # one byte at a time, of what is never finished
    def __init__(self, client, begin, rest):
        self.client, self.rest = client, rest
        client.sendall(begin)
    def drip(self):
        if self.rest:
            self.client.send(self.rest[:1])
            self.rest = self.rest[1:]
def slow_in_hello(address):
    return Slow(connect(address), b'', hello()[:-1])
def slow_in_headers(address):
    return Slow(shake_hands(address), b'POST /.well-known/cmp HTTP/1.1\r\nX: ', b'x' * 5000)
def slow_in_body(address):
    return Slow(shake_hands(address), b'POST /.well-known/cmp HTTP/1.1\r\nHost: x\r\n'
                b'Content-Type: application/pkixcmp\r\n'
                b'Content-Length: 5000\r\n\r\n', b'x' * 4999)
EOF
}

# begin_company SCRIPT: says `here` when it is complete, and goes when the leash is let go
begin_company() {
  mkfifo leash here
  python3 "$1" "$address" <leash >here 3>&- &
  company=$!
  exec 4>leash
  read -r word <here
  [[ $word == here ]]
}
end_company() {
  exec 4>&-
  wait "$company"
}

@test "1,000 idle connections, slow clients in every stage, garbage: a server with its defaults serves the stations" {
  make_factory DEV-1 DEV-2 DEV-3 DEV-4
  make_token DEV-1 DEV-2 DEV-3 DEV-4
  begin_serving --est
  front=$(child front)
  make_clients
  cat >company.py <<'EOF'
import random, resource, sys, threading
from clients import *
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
address = sys.argv[1]
idle = [shake_hands(address) for _ in range(1000)]
slow = [make(address) for make in (slow_in_hello, slow_in_headers, slow_in_body) for _ in range(30)]
garbage = random.Random(7)
stop = threading.Event()
refused = 0
def be_slow():
    while not stop.wait(0.1):
        for client in list(slow):
            try:
                client.drip()
            except OSError:  # its time was over
                slow.remove(client)
def throw_garbage():
    global refused
    while not stop.is_set():
        try:
            with connect(address) as client:
                client.settimeout(1)  # it may look like the beginning of something
                client.sendall(garbage.randbytes(3000))
                while client.recv(1000):
                    pass
        except OSError:
            pass
        refused += 1
bad = [threading.Thread(target=be_slow), threading.Thread(target=throw_garbage)]
for thread in bad:
    thread.start()
print('here', flush=True)
sys.stdin.read()
stop.set()
for thread in bad:
    thread.join()
def is_open(client):
    client.setblocking(False)
    try:
        return client.recv(1) != b''
    except ssl.SSLWantReadError:
        return True
still_here = sum(is_open(client) for client in idle)
assert still_here == 1000, still_here
assert refused >= 10, refused
EOF
  begin_company company.py
  (($(connections_to_server) >= 1000 + 3 * 30))
  provision DEV-1 DEV-1 --ca "$url" 4>&-
  provision DEV-2 DEV-2 --ca "est+$url" 4>&-
  provision DEV-3 DEV-3 --ca "$url" 4>&-
  (($(connections_to_server) >= 1000))
  end_company
  for device in DEV-1 DEV-2 DEV-3; do
    on_token "$device" fleetroot-station verify --home st --device-id "$device" --token "$(token_uri "$device")"
  done
  all_have_gone() { (($(connections_to_server) == 0)); }
  wait_until all_have_gone
  provision DEV-4 DEV-4 --ca "$url"
  [[ $(child front) == "$front" && $(certificates_in_ledger) == 4 ]]
  end_serving
}

@test "who is slow is sent away at the limit of its stage, however busy it looks" {
  make_factory DEV-1
  make_token DEV-1
  echo +0d >clock
  under=(env FAKETIME_TIMESTAMP_FILE="$PWD/clock" FAKETIME_NO_CACHE=1
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)
  begin_serving --est
  make_clients
  cat >patience.py <<'EOF'
import os, select, sys, time
from clients import *
address = sys.argv[1]
begin = time.monotonic()
clients = {'silent': Slow(connect(address), b'', b''), 'hello': slow_in_hello(address),
           'headers': slow_in_headers(address), 'body': slow_in_body(address),
           'idle': Slow(shake_hands(address), b'', b'')}
def has_gone(slow):
    if not select.select([slow.client], [], [], 0)[0]:
        return False
    try:
        return slow.client.recv(1000) == b''
    except OSError:
        return True
# The server's clock is ahead of ours by a second more each time it has answered a question: where it is busy, both wait.
def set_ahead(seconds):
    with shake_hands(address) as client:
        client.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        assert client.recv(1000)
    with open('clock.new', 'w') as clock:
        clock.write(f'+{seconds}s\n')
    os.rename('clock.new', 'clock')
left = {}
for seconds in range(1, 90):
    if len(left) == len(clients):
        break
    set_ahead(seconds)
    here = {name: slow for name, slow in clients.items() if name not in left}
    # until one is sent away: the server looks for the overdue once in a second of everybody's
    select.select([slow.client for slow in here.values()], [], [], 0.1)
    for name, slow in here.items():
        try:
            slow.drip()
        except OSError:
            pass
        if has_gone(slow):
            left[name] = seconds + time.monotonic() - begin
assert sorted(left) == sorted(clients), left
assert all(10 <= left[name] < 30 for name in ('silent', 'hello', 'headers')), left
assert 30 <= left['body'] < 60 <= left['idle'] < 90, left
print('here', flush=True)
sys.stdin.read()
EOF
  begin_company patience.py
  end_company
  echo +0d >clock
  provision DEV-1 DEV-1 --ca "$url"
  end_serving
}

# Somebody else's CA: OpenSSL's own server for tests, which answers every request with the one certificate it was given.
@test "our station gets its certificate from OpenSSL's own CMP server" {
  make_token DEV-1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout their.key -subj '/CN=Their CA' -days 30 \
    -addext 'keyUsage=critical,keyCertSign,digitalSignature' -out their.pem 2>/dev/null
  fleetroot-station init --home st --name st-77
  openssl x509 -req -in st/station.csr -CA their.pem -CAkey their.key -days 20 -out st-77.pem 2>/dev/null
  fleetroot-station enroll --home st --certificate st-77.pem --ca-certificate their.pem --fleet-root their.pem \
    --ca cmp+http://127.0.0.1:1/pkix/
  sed -i 's/^ca_timeout_seconds.*/ca_timeout_seconds = 1/' st/station.toml
  refused 69 'cannot be reached' provision DEV-1 DEV-1
  sed -i 's/^ca_timeout_seconds.*/ca_timeout_seconds = 60/' st/station.toml

  # their certificate for the key that waits in the token
  stranger DEV-1 --read-object --type pubkey --id 01 --output-file key.der
  openssl req -new -key their.key -subj /CN=DEV-1 -out any.csr
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' 'extendedKeyUsage=clientAuth' \
    'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' >extensions
  openssl x509 -req -in any.csr -force_pubkey key.der -keyform DER -CA their.pem -CAkey their.key -days 20 \
    -set_serial 0x1234567890abcdef1234 -extfile extensions -out their-device.pem
  begin_mock() { # OPTION…
    rm -f mock.out
    openssl cmp -port 0 -srv_cert their.pem -srv_key their.key -srv_trusted their.pem -rsp_cert their-device.pem "$@" \
      >mock.out 2>mock.err 3>&- &
    server=$!
    wait_for_line mock.out ACCEPT
    mock=cmp+http://127.0.0.1:$(sed -n 's/^ACCEPT .*:\([0-9]*\).*/\1/p' mock.out)
  }
  begin_mock -poll_count 1 -check_after 1
  refused 78 'the CA makes the request wait for its decision, which is not supported' provision DEV-1 DEV-1 --ca "$mock/pkix/"
  [[ $(objects_on DEV-1) == 2 ]]
  end_what_is_left
  begin_mock
  refused 76 'HTTP status 404' provision DEV-1 DEV-1 --ca "$mock" # at /.well-known/cmp/p/PO-1
  provision DEV-1 DEV-1 --ca "$mock/"

  stranger DEV-1 --read-object --type cert --id 01 --output-file certificate.der
  openssl x509 -inform DER -in certificate.der -out certificate.pem
  cmp <(openssl x509 -in certificate.pem) <(openssl x509 -in their-device.pem)
  openssl verify -x509_strict -purpose sslclient -CAfile their.pem certificate.pem
  [[ $(openssl x509 -in certificate.pem -noout -pubkey) == "$(openssl pkey -pubin -in key.der -inform DER -pubout)" ]]
  [[ $(objects_on DEV-1) == 3 ]]
  on_token DEV-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri DEV-1)"
}
