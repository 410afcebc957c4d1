#!/usr/bin/env bats
# The CA answers stock `openssl cmp`, which speaks HTTP, through a bridge to `fleetroot-ca respond`.
load ../cli/factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_ca
  make_order PO-1 DEV-1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout station.key -subj /CN=st-01 -out station.csr
  fleetroot-ca station enroll --home ca --name st-01 --request station.csr --out station.pem
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj /CN=DEV-1 -out device.csr
  start_bridge
}

teardown() {
  if [[ -e bridge.pid ]] && kill -0 "$(<bridge.pid)"; then kill "$(<bridge.pid)"; fi
}

# One `respond` for all messages; says its port when it listens.
start_bridge() {
  cat >bridge <<'EOF2'
import http.server, subprocess
ca = subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca', '--order', 'PO-1'],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
class Bridge(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        ca.stdin.write(self.rfile.read(int(self.headers['Content-Length'])))
        ca.stdin.flush()
        head = ca.stdout.read(4)
        assert head[0] == 0x30 and head[1] in (0x81, 0x82), head
        length = head[2] + 3 if head[1] == 0x81 else int.from_bytes(head[2:4], 'big') + 4
        answer = head + ca.stdout.read(length - 4)
        self.send_response(200)
        self.send_header('Content-Type', 'application/pkixcmp')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
server = http.server.HTTPServer(('127.0.0.1', 0), Bridge)
print(server.server_port, flush=True)
server.serve_forever()
EOF2
  [[ -p port ]] || mkfifo port
  python3 bridge >port 2>bridge.log 3>&- &
  echo $! >bridge.pid
  read -r port <port
}

# enroll OPTION…
enroll() {
  openssl cmp -cmd p10cr -server "http://127.0.0.1:$port" -path .well-known/cmp/p/PO-1 -no_proxy 127.0.0.1 \
    -csr device.csr -certout device.pem -recipient "/CN=Test Factory Issuing CA" \
    -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem "$@"
}

@test "p10cr with a station's certificate" {
  run -0 enroll -cert station.pem -key station.key
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem device.pem
  [[ $(openssl x509 -in device.pem -noout -pubkey) == "$(openssl pkey -in device.key -pubout)" ]]
}

@test "p10cr without a certificate" {
  run ! enroll -unprotected_requests -subject /CN=st-01
  [[ $output == *rejected* ]]
  grep -q POST bridge.log
  [[ ! -e device.pem ]]
  [[ $(certificates_in_ledger) == 0 ]]
}

@test "p10cr with a certificate that is not the CA's" {
  openssl req -x509 -key station.key -subj /CN=st-01 -out foreign.pem
  run ! enroll -cert foreign.pem -key station.key
  [[ $output == *rejected* ]]
  grep -q POST bridge.log
  [[ ! -e device.pem ]]
  [[ $(certificates_in_ledger) == 0 ]]
}

@test "kur renews the station, in its own name and for its own key" {
  renew() {
    days_later 730 openssl cmp -cmd kur -server "http://127.0.0.1:$port" -path .well-known/cmp -no_proxy 127.0.0.1 \
      -oldcert station.pem -cert station.pem -key station.key -certout next.pem -recipient "/CN=Test Factory Issuing CA" \
      -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem "$@"
  }
  kill "$(<bridge.pid)"
  wait "$(<bridge.pid)" || [[ $? == 143 ]]
  days_later 730 start_bridge
  run ! renew -newkey device.key
  [[ $output == *'no certificate for this key'* ]]
  run ! renew -newkey station.key -subject /CN=st-02
  [[ $output == *'another name'* ]]
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj /CN=st-02 -out other.csr
  fleetroot-ca station enroll --home ca --name st-02 --request other.csr --out other.pem
  run ! renew -newkey station.key -oldcert other.pem -subject /CN=st-01
  [[ $output == *'is not one of station st-01'* ]]
  [[ ! -e next.pem ]]
  renew -newkey station.key
  openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem -attime "$(date -d '+4 years' +%s)" next.pem
  [[ $(openssl x509 -in next.pem -noout -pubkey -subject) == "$(openssl x509 -in station.pem -noout -pubkey -subject)" ]]
  [[ $(state_of station.pem) == "revoked superseded" && $(state_of next.pem) == "issued null" ]]
  serial=$(openssl x509 -in next.pem -noout -serial)
  [[ $(fleetroot-ca cert show --home ca --serial "${serial#serial=}" --json | jq -r .confirmation) == accepted ]]
}

# revoke CERTIFICATE OPTION…: as the station
revoke() {
  openssl cmp -cmd rr -server "http://127.0.0.1:$port" -path .well-known/cmp -no_proxy 127.0.0.1 -oldcert "$1" \
    -cert station.pem -key station.key -recipient "/CN=Test Factory Issuing CA" -trusted ca/fleet-root.pem \
    -untrusted ca/issuing-ca.pem "${@:2}"
}

# state_of CERTIFICATE: "issued null", "revoked keyCompromise"
state_of() {
  local serial
  serial=$(openssl x509 -in "$1" -noout -serial)
  fleetroot-ca cert show --home ca --serial "${serial#serial=}" --json | jq -r '"\(.state) \(.revocation_reason)"'
}

@test "rr ends what the station asked for, and nothing else" {
  enroll -cert station.pem -key station.key
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj /CN=st-02 -out other.csr
  fleetroot-ca station enroll --home ca --name st-02 --request other.csr --out other.pem
  run ! revoke device.pem -cert other.pem -key other.key
  [[ $output == *'may not revoke'* ]]
  run ! revoke other.pem
  run ! revoke ca/issuing-ca.pem
  [[ $(state_of device.pem) == "issued null" ]]
  revoke device.pem -revreason 1
  [[ $(state_of device.pem) == "revoked keyCompromise" ]]
  revoke device.pem -revreason 4 # said twice: the first reason stays
  [[ $(state_of device.pem) == "revoked keyCompromise" ]]
}

@test "rr for the station's own certificate is its last word" {
  revoke station.pem
  run ! enroll -cert station.pem -key station.key
  [[ $output == *'is revoked'* ]]
  run ! revoke station.pem
}
