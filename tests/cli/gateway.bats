#!/usr/bin/env bats
# Devices connect to the gateway, with strangers' TLS: some are let in, most are not.
load factory
load gateway

@test "a device made on the line connects with its key in the token: admitted, joined, CN = device ID" {
  make_factory 1FLEET0000000001
  make_token dev-1
  provision dev-1 1FLEET0000000001
  make_gateway
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  start_gateway
  fleetroot-ca cert show --home ca --device-id 1FLEET0000000001 --pem >dev.pem
  cat ca/issuing-ca.pem >>dev.pem

  on_token dev-1 gnutls-cli --x509cafile gw/environments/production/gateway-root.pem --x509certfile dev.pem \
    --x509keyfile "pkcs11:token=dev-1;object=fleetroot;type=private?pin-value=$default_pin" \
    --provider "$softhsm" -p "${production##*:}" 127.0.0.1 >answer \
    < <(printf 'GET /whoami HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n'; wait_for grep -q device_id answer)

  grep -q '"device_id":"1FLEET0000000001"' answer
  [[ $(devices_in production | jq -r '.device_id + " " + .state + " " + .origin') == "1FLEET0000000001 admitted joined" ]]
  has_logged '.event == "device.joined" and .device_id == "1FLEET0000000001"'
}

@test "curl with the pkcs11 engine connects too, and is known the second time" {
  make_factory 1FLEET0000000001
  make_token dev-1
  provision dev-1 1FLEET0000000001
  make_gateway
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  start_gateway
  fleetroot-ca cert show --home ca --device-id 1FLEET0000000001 --pem >dev.pem
  cat ca/issuing-ca.pem >>dev.pem
  (umask 077 && printf %s "$default_pin" >bare.pin)
  whoami() {
    PKCS11_MODULE_PATH=$softhsm on_token dev-1 curl --silent --show-error --cacert gw/environments/production/gateway-root.pem \
      --engine pkcs11 --key-type ENG --key "pkcs11:token=dev-1;object=fleetroot;type=private;pin-source=bare.pin" \
      --cert dev.pem "$production/whoami"
  }

  [[ $(whoami | jq -r .standing) == joined ]]
  [[ $(whoami | jq -r .standing) == admitted ]]
}

@test "an IDevID is for enrolment: as a client of the fleet it is refused, and a certificate with clientAuth is not" {
  make_ca
  make_gateway
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  start_gateway
  for profile in idevid device; do
    fleetroot-ca order create --home ca --id "PO-$profile" --profile "$profile" --pattern "DEV-$profile" --quantity 1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=DEV-$profile" -keyout "$profile.key" -out one.csr
    fleetroot-ca cert issue --home ca --order "PO-$profile" --device-id "DEV-$profile" --request one.csr --out "$profile.pem"
    cat ca/issuing-ca.pem >>"$profile.pem"
  done

  run ! as idevid production /whoami
  wait_for has_logged '.reason == "not_for_clients"'
  as device production /whoami
}

@test "events are taken from whom they come" {
  make_world
  start_gateway

  [[ $(as dev production /events --data '[{"a":1},{"a":2}]') == '{"accepted":2}' ]]

  [[ $(logged '.event == "device.event" and .device_id == "1FLEET-1"') == 2 ]]
  curl --silent "$metrics" | grep -q 'fleetroot_gateway_requests_total{environment="production"} 1'
}

@test "events are 1,000 at most, and what is more than anybody writes is not read to its end" {
  make_world
  start_gateway
  python3 - <<'PYTHON'
import json
def write(name, text):
    open(name, 'w').write(text)
write('most', json.dumps([{'a': 1}] * 1000))
write('one-more', json.dumps([{'a': 1}] * 1001))
write('many', json.dumps([{}] * 250000))
write('wide', json.dumps({f'{i:x}': 1 for i in range(80000)}))
write('twice', '{"a":1,"a":2}')
write('behind-nul', '{"a":1}\0{"a":2}')
write('mark', '\ufeff{"a":1}')
PYTHON

  [[ $(as dev production /events --data-binary @most) == '{"accepted":1000}' ]]
  for refused in one-more many wide twice behind-nul mark; do
    [[ $(as dev production /events --data-binary "@$refused") == *'"code":"bad_json"'* ]]
  done

  [[ $(logged '.event == "device.event"') == 1000 ]]
}

@test "what cannot be let in is refused with its reason, and nothing is registered" {
  make_world
  start_gateway
  mkdir other
  "$pki" root other "Fleet Root"
  "$pki" device other 1FLEET-2 other-root
  "$pki" device factory 1FLEET-3 expired -1
  "$pki" device factory ../etc bad-name
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=1FLEET-4 -keyout self.key -out self.pem
  before=$(devices_in production; devices_in test)
  reason() {
    local count
    count=$(logged "(.event == \"connection.refused\" or .event == \"request.refused\") and .reason == \"$1\"")
    ! "${@:2}" >output 2>&1 || grep -q '"code"' output
    wait_for has_logged_more "$1" "$count"
  }
  has_logged_more() {
    (($(logged "(.event == \"connection.refused\" or .event == \"request.refused\") and .reason == \"$1\"") > $2))
  }

  reason no_certificate ask production /whoami
  reason tls_too_old as dev production /whoami --tls-max 1.1
  reason handshake_failed curl --silent --max-time 60 "http://${production#https://}/whoami"
  reason false_root as other-root production /whoami
  reason expired as expired production /whoami
  reason invalid_device_id as bad-name production /whoami
  reason self_signed as self production /whoami
  reason other_environment as dev test /whoami

  [[ $(devices_in production; devices_in test) == "$before" ]]
}

@test "requests that are no requests: bad JSON, 10 MiB, a path that is not there" {
  make_world
  start_gateway
  head --bytes 10485760 /dev/zero >large

  [[ $(as dev production /events --data '{') == *'"code":"bad_json"'* ]]
  [[ $(as dev production /events --data '[]') == *'"code":"bad_json"'* ]]
  python3 -c 'print("{\"a\":" + "[" * 500000 + "]" * 500000 + "}")' >deep
  [[ $(as dev production /events --data-binary @deep) == *'"code":"bad_json"'* ]]
  [[ $(as dev production /nowhere) == *'"code":"not_found"'* ]]
  as dev production /events --data-binary @large -o /dev/null -w '%{http_code}\n' >code || true
  wait_for has_logged '.reason == "body_too_large"'
  has_logged '.reason == "bad_json" and .who == "1FLEET-1"'
}

@test "slow clients are sent away with their reason, and strangers do not push devices out" {
  make_world
  ulimit -n 300
  start_gateway
  as dev production /whoami
  cat >crowd.py <<'PYTHON'
import socket, ssl, sys
context = ssl.create_default_context(cafile='gw/environments/production/gateway-root.pem')
context.load_cert_chain('dev.pem', 'dev.key')
host, port = sys.argv[1].split(':')
device = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
def whoami():
    device.sendall(b'GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n')
    return device.recv(4096)
assert b' 200 ' in whoami()
strangers = []
for _ in range(250):
    try:
        strangers.append(socket.create_connection((host, int(port))))
    except ConnectionResetError:
        pass
assert b' 200 ' in whoami()
slow = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
slow.sendall(b'GET / HT')  # and nothing more
try:
    assert slow.recv(1) == b''
except (ConnectionResetError, ssl.SSLEOFError):
    pass
PYTHON
  python3 crowd.py "${production#https://}"
  wait_for has_logged '.event == "request.refused" and .reason == "request_timeout"'
  exec 5<>"/dev/tcp/127.0.0.1/${production##*:}"
  wait_for has_logged '.event == "connection.refused" and .reason == "handshake_timeout"'
  exec 5>&-
  [[ $(devices_in production | jq -r .device_id) == 1FLEET-1 ]]
}

@test "a device that connects without end takes no other device's place" {
  make_world
  "$pki" device factory 1FLEET-2 other
  ulimit -n 300
  start_gateway
  cat >crowd.py <<'PYTHON'
import socket, ssl, sys
host, port = sys.argv[1].split(':')
def connected(name):
    context = ssl.create_default_context(cafile='gw/environments/production/gateway-root.pem')
    context.load_cert_chain(f'{name}.pem', f'{name}.key')
    return context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
def is_served(device):
    try:
        device.sendall(b'GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n')
        return b' 200 ' in device.recv(4096)
    except (ConnectionError, ssl.SSLError):
        return False
other = connected('other')
assert is_served(other)
crowd = []
for _ in range(200):
    crowd.append(connected('dev'))
    assert is_served(crowd[-1])
assert is_served(other)
served = [is_served(device) for device in crowd]
assert served == [False] * 184 + [True] * 16, served
PYTHON
  python3 crowd.py "${production#https://}"
}

@test "another key under a known name: refused and alarmed" {
  make_world
  "$pki" device factory 1FLEET-1 twin
  start_gateway
  as dev production /whoami
  before=$(devices_in production)

  run ! as twin production /whoami

  wait_for has_logged '.event == "alarm" and .reason == "device_id_taken"'
  [[ $(devices_in production) == "$before" ]]
}

# hold_open NAME DEVICE-ID: joins as NAME, and stays until the gateway ends it: $open. Its input has no end.
hold_open() {
  mkfifo "hold-$1"
  openssl s_client -connect "${production#https://}" -cert "$1.pem" -cert_chain factory/ca.pem -key "$1.key" \
    -CAfile gw/environments/production/gateway-root.pem -quiet <>"hold-$1" >"open-$1.log" 2>&1 3>&- &
  open=$!
  wait_for has_logged ".event == \"device.joined\" and .device_id == \"$2\""
}

@test "one connected device that cannot be judged is sent away, and so are the others who may not stay" {
  make_world
  "$pki" device factory 1FLEET-2 other
  start_gateway
  hold_open dev 1FLEET-1
  hold_open other 1FLEET-2
  sqlite3 gw/registry.db "UPDATE devices SET device_id = 'no/ID' WHERE device_id = '1FLEET-1'"

  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-2

  wait_for has_logged '.event == "connection.closed" and .reason == "blocked" and .who == "CN=1FLEET-2"'
  wait_for has_logged '.event == "connection.closed" and .reason == "out_of_order" and .who == "CN=1FLEET-1"'
  wait_for has_logged '.event == "trust.reloaded"'
  [[ $(logged '.event == "registry.unreadable"') == 0 ]]
}

@test "a revoked device is refused at the next handshake, and its open connection ends" {
  make_world
  "$pki" device factory 1FLEET-2 other
  "$pki" crl factory 1 crl-1.pem dev.pem
  start_gateway
  as other production /whoami
  hold_open dev 1FLEET-1

  fleetroot-gateway crl import --home gw --environment production --ca-certificate factory/ca.pem crl-1.pem

  wait_for has_logged '.event == "connection.closed" and .reason == "revoked"'
  wait "$open" || true
  run ! as dev production /whoami
  wait_for has_logged '.event == "connection.refused" and .reason == "revoked"'
  as other production /whoami
}

@test "what a list supersedes is refused as that, and nobody says that the device has a newer key" {
  make_world
  "$pki" crl factory 1 crl-1.pem dev.pem=superseded
  fleetroot-gateway crl import --home gw --environment production --ca-certificate factory/ca.pem crl-1.pem
  start_gateway

  run ! as dev production /whoami

  wait_for has_logged '.event == "connection.refused" and .reason == "superseded" and
    .message == "the certificate, or its key, was superseded"'
}

@test "lists are taken from the CA alone, and never an older one" {
  make_world
  mkdir other
  "$pki" root other "Other Root"
  "$pki" crl factory 2 crl-2.pem dev.pem
  "$pki" crl factory 1 crl-1.pem
  "$pki" crl other 1 other.pem

  import() { fleetroot-gateway crl import --home gw --environment production "$@"; }
  refused 65 'no CA that this environment knows' import crl-2.pem
  refused 65 'no CA that this environment knows' import --ca-certificate factory/ca.pem other.pem
  refused 65 'does not chain' import --ca-certificate other/ca.pem other.pem
  run -0 import --ca-certificate factory/ca.pem crl-2.pem --dry-run
  [[ $output == "would be imported: list 2 "* ]]
  run -0 import --ca-certificate factory/ca.pem --dry-run crl-2.pem
  [[ $output == "would be imported: list 2 "* ]]
  run -0 import --ca-certificate factory/ca.pem crl-2.pem
  [[ $output == imported* ]]
  run -0 import --ca-certificate factory/ca.pem crl-2.pem
  [[ $output == "already here"* ]]
  refused 65 'not newer' import --ca-certificate factory/ca.pem crl-1.pem

  run -0 fleetroot-gateway config check --home gw
  [[ $output != *"was due"* ]]
  run -0 faketime '+31 days' fleetroot-gateway config check --home gw
  [[ $output == *"production: the revocation list 2 of "*" was due "* ]]
}

@test "a list from the future is not taken: it would stand in the way of those to come" {
  make_world
  import_list() { fleetroot-gateway crl import --home gw --environment production --ca-certificate factory/ca.pem "$@"; }
  faketime '+2 hours' "$pki" crl factory 9 ahead.pem dev.pem
  faketime '+30 seconds' "$pki" crl factory 1 soon.pem
  faketime '-31 days' "$pki" crl factory 2 overdue.pem
  "$pki" crl factory 3 now.pem

  refused 78 "the revocation list 9 of CN=.* is from .*, and this machine's clock says" import_list ahead.pem
  refused 78 'the revocation list 9 of' import_list --dry-run ahead.pem

  run -0 import_list soon.pem
  [[ $output != *"should have been replaced"* ]]
  run -0 import_list overdue.pem
  [[ $output == *"; it should have been replaced by a newer one" ]]
  run -0 import_list now.pem
  run -0 faketime '+2 hours' fleetroot-gateway crl import --home gw --environment production \
    --ca-certificate factory/ca.pem ahead.pem
  [[ $output != *"should have been replaced"* ]]
}

@test "a blocked device is sent away and stays away until the block is lifted" {
  make_world
  start_gateway
  as dev production /whoami
  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-1

  run ! as dev production /whoami
  wait_for has_logged '.reason == "blocked"'
  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-1 --lift
  as dev production /whoami
  refused 65 'knows no device' fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-9
}

@test "in rehearsal a device is admitted and nothing is registered" {
  make_world
  start_gateway --rehearsal

  [[ $(as dev production /whoami | jq -r '.device_id + " " + .standing') == "1FLEET-1 rehearsed" ]]

  [[ -z $(devices_in production) ]]
}

@test "a service behind the gateway learns who asks, and from nobody else" {
  make_world
  start_http_upstream <<'PYTHON'
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        if self.path == '/odd':  # interim answers, and no word of the connection's end
            self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n')
            text = b'final'
        else:
            names = [name for name in self.headers if '_' in name or name.lower() == 'x-hop']
            text = f"{names} {self.path} {self.headers.get_all('X-Fleetroot-Device-Id')} {self.headers['X-Own']} {body}".encode()
        if self.path == '/reset':
            return
        self.send_response(201)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
PYTHON
  start_gateway

  run -0 as dev production '/jobs?x=1' --data hello -H 'x-fleetroot-device-id: 1FLEET-999' -H 'X_Fleetroot_Device_Id: 1FLEET-999' \
    -H 'X-Own: mine' -H 'Connection: x-hop' -H 'X-Hop: 1' -w ' %{http_code}'

  [[ $output == "[] /jobs?x=1 ['1FLEET-1'] mine hello 201" ]]
  [[ $(as dev production /odd --data hello) == final ]]
  [[ $(as dev production /jobs --data x) == *" x" ]]
  [[ $(as dev production /whoami | jq -r .device_id) == 1FLEET-1 ]]
  kill "$upstream"
  wait "$upstream" || (($? == 143)) # by this kill
  [[ $(as dev production /jobs --data x) == *upstream_unreachable* ]]
}

@test "a service that breaks off, or never answers, costs its request and nothing else" {
  make_world
  start_upstream <<'PYTHON'
import os, socket, struct, threading
def serve(connection):
    head = connection.recv(100)
    os.write(2, head.split(b' ')[1] + b'\n')  # print() writes a line in two parts, between which others write
    if b'/silent' in head:
        threading.Event().wait()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()  # with a reset
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PYTHON
  start_gateway
  head --bytes 1000000 /dev/zero >large

  for i in 1 2 3 4 5 6; do
    [[ $(as dev production "/reset$i" --data-binary @large) == *upstream_unreachable* ]]
  done
  [[ $(grep -c reset seen) == 6 ]]
  # One device cannot take all of them: the fifth is told so.
  # A request before may take its place for a moment yet.
  for i in 1 2 3 4; do
    while [[ $(as dev production /silent) == *"too many requests"* ]]; do :; done >/dev/null 2>&1 3>&- &
  done
  silent() { (($(grep -c silent seen) == 4)); }
  wait_for silent
  [[ $(as dev production /silent) == *"too many requests"* ]]
  begin=$SECONDS
  stop_gateway
  ((SECONDS - begin < 15))
  kill "$upstream"
}

@test "why a service is not reached is in the log and counted; the device learns nothing of the inside" {
  make_world
  start_http_upstream <<'PYTHON'
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        size = int(self.path[1:])
        self.send_response(200)
        self.send_header('Content-Length', str(size))
        self.end_headers()
        self.wfile.write(bytes(size))
PYTHON
  start_gateway
  sorry='502 {"code":"upstream_unreachable","description":"the upstream service does not answer, or not as it should"}'

  [[ $(as dev production "/$((16 << 20))" | wc --bytes) == $((16 << 20)) ]]
  [[ $(as dev production "/$(((16 << 20) + 1))" --output answer -w '%{http_code} ')$(<answer) == "$sorry" ]]
  has_logged '.event == "request.refused" and .reason == "upstream_unreachable" and .who == "1FLEET-1" and
    (.detail | test("more than 16 MiB"))'
  kill "$upstream"
  wait "$upstream" || (($? == 143)) # by this kill
  [[ $(as dev production /1 --output answer -w '%{http_code} ')$(<answer) == "$sorry" ]]
  has_logged ".event == \"request.refused\" and (.detail | test(\"127.0.0.1:$(<port) cannot be reached\"))"
  curl --silent "$metrics" | grep -Fx 'fleetroot_gateway_refused_total{environment="production",reason="upstream_unreachable"} 2'
}

@test "the answer to a HEAD says how long the service's body would be, where the service does" {
  make_world
  start_http_upstream <<'PYTHON'
class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        if self.path == '/72':
            self.send_header('Content-Length', '72')
        self.end_headers()
PYTHON
  start_gateway

  [[ $(as dev production /72 --head | grep -ci content-length) == 1 ]]
  as dev production /72 --head | grep -i '^content-length: 72.$'
  run ! grep -i content-length <(as dev production /none --head)
  kill "$upstream"
}

@test "what has no body has no length, and what has no end that all agree on does not get through" {
  make_world
  start_http_upstream <<'PYTHON'
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/gzip':
            self.wfile.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n')
            self.close_connection = True
            return
        self.send_response(int(self.path[1:]))
        self.end_headers()
        self.close_connection = True
PYTHON
  start_gateway

  for status in 204 304; do
    as dev production "/$status" --include >answer
    grep "^HTTP/1.1 $status" answer
    run ! grep -i '^content-length' answer
  done
  [[ $(as dev production /101 -w ' %{http_code}') == *upstream_unreachable*502 ]]
  [[ $(as dev production /gzip -w ' %{http_code}') == *upstream_unreachable*502 ]]
  [[ $(as dev production /200 -H 'Transfer-Encoding: xchunked' -o answer -w '%{http_code}') == 501 ]]
  has_logged '.event == "request.refused" and .reason == "bad_request" and (.detail | test("chunked"))'
  kill "$upstream"
}

@test "a server's certificate is renewed while it serves" {
  make_world
  echo '+0' >clock
  export FAKETIME_TIMESTAMP_FILE=$PWD/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
  LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 start_gateway
  unset FAKETIME_TIMESTAMP_FILE
  cp gw/environments/production/server.pem before.pem
  echo '+300d' >clock
  wait_for has_logged '.event == "server.renewed" and .environment == "production"'

  openssl s_client -connect "${production#https://}" -cert dev.pem -cert_chain factory/ca.pem -key dev.key </dev/null >session.txt
  openssl x509 -in session.txt -out served.pem
  run ! cmp before.pem gw/environments/production/server.pem
  cmp served.pem gw/environments/production/server.pem
}

@test "the gateway's token is away: 75, once; where it is started again, the token is opened anew" {
  make_world
  start_gateway
  mv gw/softhsm/tokens gw/softhsm/away
  run ! as dev production /whoami
  mv gw/softhsm/away gw/softhsm/tokens # the session that it had is dead all the same

  timeout 60 tail --pid="$gateway" --follow /dev/null
  status=0
  wait "$gateway" || status=$?
  [[ $status == 75 ]]
  [[ $(<gw.err) == 'fleetroot-gateway: error: the token failed to '*$'\nfleetroot-gateway: hint: '* ]]
  start_gateway
  [[ $(as dev production /whoami | jq -r .standing) == joined ]]
}

@test "a registry that is replaced or gone while it serves lets nobody in any more: 74, and it opens what is there" {
  make_world
  sqlite3 gw/registry.db ".backup back-up"
  mkdir away
  replace() {
    mv gw/registry.db* away
    [[ -z $1 ]] || mv "$1" gw/registry.db
    run ! as dev production /whoami
    timeout 60 tail --pid="$gateway" --follow /dev/null
    status=0
    wait "$gateway" || status=$?
    [[ $status == 74 ]]
    [[ $(<gw.err) == 'fleetroot-gateway: error: the database gw/registry.db was moved away or replaced '*$'\nfleetroot-gateway: hint: '* ]]
    has_logged '.event == "registry.unreadable"'
    [[ $(logged '.event == "device.joined"') == 1 ]]
  }
  start_gateway
  [[ $(as dev production /whoami | jq -r .standing) == joined ]]

  replace back-up
  start_gateway # which has not heard of the device
  [[ $(as dev production /whoami | jq -r .standing) == joined ]]
  replace ''
  [[ ! -e gw/registry.db ]]
  refused 74 'registry gw/registry.db is gone' fleetroot-gateway serve --home gw --listen production=127.0.0.1:0
}

@test "a back-up that SQLite puts back while it serves is heeded" {
  make_world
  start_gateway
  as dev production /whoami
  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-1
  sqlite3 gw/registry.db ".backup back-up"
  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-1 --lift
  wait_for has_logged '.event == "trust.reloaded"'
  [[ $(as dev production /whoami | jq -r .standing) == admitted ]]

  sqlite3 gw/registry.db ".restore back-up"

  run ! as dev production /whoami
  wait_for has_logged '.reason == "blocked"'
}

@test "what the gateway's token cannot sign costs the client that asks for it, and nobody else" {
  make_token own
  on_token own make_world --algorithm rsa2048 --token "$(token_uri own | sed "s|file:|file:$PWD/|")"
  # the padding that TLS 1.3 wants is not among them
  echo 'slots.mechanisms = CKM_RSA_PKCS,CKM_RSA_PKCS_KEY_PAIR_GEN' >>own/softhsm2.conf
  on_token own start_gateway

  run ! as dev production /whoami
  wait_for has_logged '.detail // "" | contains("the token failed to")'
  # it has looked at its token when it has looked at this
  mkdir other
  "$pki" root other "Other Fleet Root"
  fleetroot-gateway fleet-root add --home gw --environment test other/root.pem
  wait_for has_logged '.event == "trust.reloaded"'
  openssl s_client -connect "${production#https://}" -tls1_2 -sigalgs RSA+SHA256 -client_sigalgs ECDSA+SHA256 \
    -cert dev.pem -cert_chain factory/ca.pem -key dev.key </dev/null
  has_logged '.event == "device.joined"'
}

@test "Fleet Roots: linted, in one environment only, taken back" {
  make_gateway
  mkdir factory
  "$pki" root factory "Fleet Root"
  root() { fleetroot-gateway fleet-root "$@" --home gw --environment production; }
  make_root() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=Bad Root" -keyout bad.key -out "$1" \
      -addext "${2:-basicConstraints=critical,CA:TRUE}" -addext "${3:-keyUsage=critical,keyCertSign}" "${@:4}"
  }
  make_root server-only.pem "" "" -addext extendedKeyUsage=critical,serverAuth
  make_root no-ca.pem basicConstraints=critical,CA:FALSE
  make_root no-sign.pem "" keyUsage=critical,cRLSign
  openssl req -x509 -newkey rsa:1024 -nodes -subj /CN=Weak -keyout bad.key -out weak.pem -addext keyUsage=keyCertSign
  faketime '2001-01-01' openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=Old -days 10 \
    -keyout bad.key -out old.pem -addext keyUsage=keyCertSign

  refused 65 'serverAuth alone' root add server-only.pem
  refused 65 'not the certificate of a CA' root add no-ca.pem
  refused 65 'may not sign' root add no-sign.pem
  refused 65 'too weak' root add weak.pem
  refused 65 'expired' root add old.pem
  root add factory/root.pem
  run -0 root add factory/root.pem
  [[ $output == *"already trusts"* ]]
  refused 65 'Fleet Root of the environment production' \
    fleetroot-gateway fleet-root add --home gw --environment test factory/root.pem
  refused 65 'shares devices with a Fleet Root of the environment production' \
    fleetroot-gateway fleet-root add --home gw --environment test factory/ca.pem
  fingerprint=$(openssl x509 -in factory/root.pem -outform DER | sha256sum | cut -c1-16)
  fleetroot-gateway fleet-root list --home gw --json | jq -es "any(.fingerprint | startswith(\"$fingerprint\"))"
  root remove --fingerprint "$fingerprint"
  refused 65 'no Fleet Root' root remove --fingerprint "$fingerprint"
}

@test "a gateway's home: strict settings, keys in the token, one that is there is not overwritten" {
  make_gateway
  fleetroot-gateway config check --home gw
  run ! grep -r --include=*.pem 'PRIVATE KEY' gw
  refused 73 'cannot create' make_gateway
  refused 64 'no environment staging' fleetroot-gateway device list --home gw --environment staging
  refused 64 'cannot have shared' fleetroot-gateway init --home x --name gw --environment production --shared-credentials production
  [[ ! -e x ]]
  refused 64 'a gateway cannot have an Ed25519 key' fleetroot-gateway init --home x --name gw --environment production --algorithm ed25519
  [[ ! -e x ]]
  sed -i 's/^strict/strickt/' gw/gateway.toml
  refused 78 'strickt is not a known key' fleetroot-gateway config check --home gw
  sed -i 's/^strickt/strict/; /^\[environment.production\]/a device_root_key_id = "01"' gw/gateway.toml
  refused 78 'allows shared credentials' fleetroot-gateway config check --home gw
}

@test "environments: each once, and none that is not listed" {
  make_gateway
  sed -i 's/^environments = .*/environments = ["production", "test", "production"]/' gw/gateway.toml
  for command in 'config check' 'serve --listen test=127.0.0.1:0'; do
    # shellcheck disable=SC2086 # several words
    refused 78 'gw/gateway.toml: environments has "production" twice' fleetroot-gateway $command --home gw
  done
  sed -i 's/^environments = .*/environments = ["production"]/' gw/gateway.toml
  refused 78 'gateway.toml: environment.test is the table of an environment that is not listed' fleetroot-gateway config check --home gw
  [[ $stderr == *'hint: add "test" to environments, or comment the table out'* ]]
}

@test "addresses that serve or a device could not speak to: 78, file and key; 64 on the command line" {
  make_gateway
  cp gw/gateway.toml good.toml
  for upstream in ftp://x garbage https://127.0.0.1 http://127.0.0.1:8080/path http://127.0.0.1:0 http://; do
    sed "/^\[environment.production\]/a upstream = \"$upstream\"" good.toml >gw/gateway.toml
    for command in 'config check' 'serve --listen test=127.0.0.1:0'; do
      # shellcheck disable=SC2086 # several words
      refused 78 'gw/gateway.toml: environment.production.upstream is not valid' fleetroot-gateway $command --home gw
      [[ $stderr == *"hint: write it like http://127.0.0.1:8080"* ]]
    done
  done
  for url in garbage http://gw.example.test https:// ''; do
    sed "s|^url = .*|url = \"$url\"|" good.toml >gw/gateway.toml
    refused 78 'gw/gateway.toml: environment.production.url is not valid' fleetroot-gateway config check --home gw
  done
  cp good.toml gw/gateway.toml
  for url in garbage http://gw.example.test; do
    refused 64 "\"$url\" is " fleetroot-gateway credentials create --home gw --environment test --out c.zip --url "$url"
    [[ ! -e c.zip && -z $(fleetroot-gateway credentials list --home gw --json) ]]
  done
  for days in 0 0x10 3651; do
    refused 64 '--expires: .*whole number from 1 to 3650' \
      fleetroot-gateway credentials create --home gw --environment test --out c.zip --expires "$days"
    [[ ! -e c.zip ]]
  done
  fleetroot-gateway credentials create --home gw --environment test --out c.zip --expires 010 --quota 0100
  [[ $(fleetroot-gateway credentials list --home gw --json | jq '.quota, (((.expires | fromdate) - now) / 86400 | round)' | xargs) == '100 10' ]]
}

@test "an address that cannot be had is told before any is announced" {
  make_gateway
  run --separate-stderr -64 fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --metrics nonsense
  [[ -z $output ]]
  refused 64 'is no address to listen on' fleetroot-gateway serve --home gw --listen production=::1
  start_gateway
  taken=${metrics#http://}
  taken=${taken%/metrics}
  run --separate-stderr -78 fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --metrics "$taken"
  [[ -z $output ]]
  run --separate-stderr -78 fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --listen "test=$taken"
  [[ -z $output ]]
}

@test "SIGTERM, Ctrl-C and a terminal that goes away end it in order; nohup is heeded" {
  make_world
  for signal in TERM INT HUP; do
    start_gateway
    kill -s "$signal" "$gateway"
    wait "$gateway"
  done

  trap '' HUP
  start_gateway
  as dev production /whoami
  kill -s HUP "$gateway"
  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET-1
  wait_for has_logged '.event == "trust.reloaded"'
  stop_gateway
}

@test "whoever reads the log may stop: devices are served, lost lines are counted, and SIGTERM ends it" {
  make_world
  mkfifo log
  exec 5<>log
  fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --metrics 127.0.0.1:0 >log 2>gw.err 3>&- 5>&- &
  gateway=$!
  read -ru 5 _ _ production _
  read -ru 5 _ _ metrics _
  python3 -c 'import json; print(json.dumps([{"text": "x" * 1000}] * 1000))' >many # 1.2 MB of log

  for _ in 1 2 3 4; do
    [[ $(as dev production /events --data-binary @many) == '{"accepted":1000}' ]]
  done

  curl --silent "$metrics" | grep '^fleetroot_gateway_log_dropped_total{} [1-9]'
  run ! ask production /whoami
  [[ $(as dev production /whoami | jq -r .standing) == admitted ]]
  # Who reads on finds what was kept, and then what is new.
  cat <&5 >rest 3>&- &
  reader=$!
  hears() { as dev production /events --data '{"last":1}' && grep -q '"last":1' rest; }
  wait_for hears
  kill "$reader"
  wait "$reader" || (($? == 143)) # as it was told
  as dev production /events --data-binary @many
  kill "$gateway"
  timeout 60 tail --pid="$gateway" --follow /dev/null
  wait "$gateway"
  jq -es 'length > 1000 and (first.event == "device.joined") and all(.schema == "fleetroot/1")' rest
}

@test "a registry that is gone, or empty, is not made anew" {
  make_gateway
  mv gw/registry.db registry.db

  refused 74 'registry gw/registry.db is gone' fleetroot-gateway config check --home gw
  refused 74 'registry gw/registry.db is gone' fleetroot-gateway serve --home gw --listen production=127.0.0.1:0
  [[ ! -e gw/registry.db ]]
  : >gw/registry.db
  refused 74 'registry gw/registry.db is empty' fleetroot-gateway device list --home gw --environment production
  mv registry.db gw/registry.db
  fleetroot-gateway config check --home gw
}

@test "names are host names and addresses; a server whose names were corrected gets another certificate" {
  for name in gw.example.test:8443 a..b a- 192.0.2 'a b' 0.0.0.0 :: 0::0; do
    refused 64 'no host name or address' fleetroot-gateway init --home x --name "$name" --environment production
    [[ ! -e x ]]
  done
  fleetroot-gateway init --home six --name ::1 --environment production
  grep -Fx 'url = "https://[::1]"' six/gateway.toml
  openssl x509 -in six/environments/production/server.pem -noout -checkip ::1 | grep 'does match'
  make_world
  run -0 fleetroot-gateway config check --home gw
  [[ $output != *"serve will renew it"* ]]

  sed -i 's/^names = .*/names = ["127.0.0.1", "other.example.test"]/' gw/gateway.toml
  run -0 fleetroot-gateway config check --home gw
  [[ $output == *"production: "*", and serve will renew it"* ]]
  start_gateway
  openssl x509 -in gw/environments/production/server.pem -noout -checkhost other.example.test | grep 'does match'
  openssl x509 -in gw/environments/production/server.pem -noout -checkhost gw.example.test | grep 'does NOT match'
  as dev production /whoami
  sed -i 's/^names = .*/names = ["gw.example.test:8443"]/' gw/gateway.toml
  refused 78 'names has "gw.example.test:8443", which is no host name' fleetroot-gateway config check --home gw
  sed -i 's/^names = .*/names = ["gw.example.test", "::"]/' gw/gateway.toml
  refused 78 'names has "::", which is no host name' fleetroot-gateway config check --home gw
}

@test "connections that wait cost little, and new ones are still admitted" {
  [[ -z ${ASAN_OPTIONS:-} ]] || skip 'the sanitizer has memory of its own'
  "$BATS_TEST_DIRNAME/../bench/gateway-connections.py" idle 500
}
