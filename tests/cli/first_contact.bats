#!/usr/bin/env bats
# A device's first connection, made on the line: with the key in its token, or with files where it has none.
load factory
load gateway

# meet [OPTION…]: verify, with the first connection
meet() {
  on_token dev-1 fleetroot-station verify --home st --device-id 1FLEET0000000001 --token "$(token_uri dev-1)" \
    --gateway "$production" --gateway-ca "${pinned:-gw/environments/production/gateway-root.pem}" "$@"
}

make_line() {
  make_factory 1FLEET0000000001
  make_token dev-1
  provision dev-1 1FLEET0000000001
  make_gateway
}

@test "verify --gateway: rehearsed, then joined, then known" {
  make_line
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  start_gateway --rehearsal
  run -0 meet
  [[ $output == *"gateway"*"says rehearsed"*"PASS"* ]]
  [[ -z $(devices_in production) ]]
  stop_gateway
  start_gateway

  [[ $(meet --json | jq -r '.checks[] | select(.check == "gateway").detail') == *"says joined" ]]

  [[ $(meet --json | jq -r '.checks[] | select(.check == "gateway").detail') == *"says admitted" ]]
  [[ $(devices_in production | jq -r .device_id) == 1FLEET0000000001 ]]
}

@test "verify --gateway: refused, not there, not the pinned one" {
  make_line
  start_gateway
  refused 77 'refuses this device' meet
  meet --json | jq -r '.checks[] | select(.check == "gateway").detail' >detail || true
  grep -q 'refuses this device' detail
  has_logged '.reason == "unknown_root" or .reason == "missing_intermediate"'
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem

  pinned=gw/environments/test/gateway-root.pem meet --json >two || true
  grep -q "certificate is not one to believe" two
  [[ -z $(devices_in production) ]]
  production=nonsense refused 64 'no URL' meet
  production=http://127.0.0.1:1 refused 64 'an http address has no certificate' meet
  [[ $stderr == *'write https://host:port, where'* ]]
  pinned=nosuch.pem refused 74 'cannot (read|open) nosuch.pem' meet
  stop_gateway
  refused 69 'cannot be reached' meet
  [[ $(error_code meet) == ca_unreachable ]]
}

@test "provision --shared: identity in files, mode 0600, tried; the same command again only tries" {
  make_gateway
  start_gateway
  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip --url "$test"
  wait_for has_logged '.event == "trust.reloaded"'

  run -0 fleetroot-station provision --shared credentials.zip --device-id test-7
  [[ $output == *"PASS test-7"* ]]
  [[ $(stat -c %a test-7/device.key) == 600 ]]
  openssl verify -purpose sslclient -CAfile gw/environments/test/fleet-root.pem test-7/device.pem
  cmp <(openssl pkey -in test-7/device.key -pubout) <(openssl x509 -in test-7/device.pem -noout -pubkey)
  [[ $(devices_in test | jq -r '.device_id + " " + .origin') == "test-7 provisioned" ]]

  fleetroot-station provision --shared credentials.zip --device-id test-7
  [[ $(fleetroot-gateway credentials list --home gw --json | jq .used) == 1 ]]
  refused 65 'knows a device test-7 already' \
    fleetroot-station provision --shared credentials.zip --device-id test-7 --out elsewhere
  [[ ! -e elsewhere/device.key ]]
}

@test "provision --shared: nothing is asked for that could not be kept, and what was kept is not asked for again" {
  make_gateway
  start_gateway
  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip --url "$test"
  wait_for has_logged '.event == "trust.reloaded"'
  used() { fleetroot-gateway credentials list --home gw --json | jq .used; }

  (ulimit -f 32 && refused 74 'cannot write' fleetroot-station provision --shared credentials.zip --device-id test-7)
  [[ $(used) == 0 ]]
  [[ -z $(devices_in test) ]]

  fleetroot-station provision --shared credentials.zip --device-id test-7
  [[ $(used) == 1 && ! -e test-7/answer.p12 ]]
  # As if the power had gone when the answer was on disk, and nothing else.
  openssl pkcs12 -export -inkey test-7/device.key -in test-7/device.pem -certfile test-7/gateway-root.pem -passout pass: \
    -out answer.p12
  rm test-7/device.*
  mv answer.p12 test-7/
  run -0 fleetroot-station provision --shared credentials.zip --device-id test-7
  [[ $output == *"PASS test-7"* ]]
  [[ $(used) == 1 && ! -e test-7/answer.p12 ]]
}

@test "provision --shared: a refusal whose code is no text leaves nothing behind" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server_ca.pem \
    -subj /CN=gateway -addext subjectAltName=IP:127.0.0.1
  openssl pkcs12 -export -inkey server.key -in server_ca.pem -passout pass: -out autoprov_credentials.p12
  cat >gateway.py <<'PYTHON'
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(409)
        self.send_header('Content-Length', '10')
        self.end_headers()
        self.wfile.write(b'{"code":7}')
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain('server_ca.pem', 'server.key')
server.socket = tls.wrap_socket(server.socket, server_side=True)
print(f'https://127.0.0.1:{server.server_port}', flush=True)
server.serve_forever()
PYTHON
  python3 gateway.py >autoprov.url 2>gw.err 3>&- &
  gateway=$!
  wait_for grep -q . autoprov.url
  python3 -m zipfile -c credentials.zip autoprov.url autoprov_credentials.p12 server_ca.pem

  refused 77 'makes no device test-7' fleetroot-station provision --shared credentials.zip --device-id test-7

  [[ -z $(find test-7 -type f) ]]
}

@test "provision --shared: what is no archive, and what may make no device" {
  make_gateway
  start_gateway
  printf 'PK nonsense' >bad.zip
  refused 65 'no archive' fleetroot-station provision --shared bad.zip --device-id test-7
  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip --url "$test" --quota 1
  wait_for has_logged '.event == "trust.reloaded"'
  fleetroot-station provision --shared credentials.zip --device-id test-7
  refused 77 'makes no device test-8' fleetroot-station provision --shared credentials.zip --device-id test-8
  refused 64 'excludes' fleetroot-station provision --shared credentials.zip --device-id test-8 --order PO-1
  for option in '--preset lmp' '--algorithm p384' '--placeholder' '--rework' '--retry-pin' '--bay 2' '--pin-fd 0' '--module-args x' \
    '--remote-module tpm2-pkcs11' '--home st' '--ca exec:true'; do
    # shellcheck disable=SC2086 # words
    refused 64 'excludes' fleetroot-station provision --shared credentials.zip --device-id test-8 $option
  done
  FLEETROOT_STATION_HOME=st FLEETROOT_CA=exec:true refused 77 'makes no device test-8' \
    fleetroot-station provision --shared credentials.zip --device-id test-8
  refused 64 'required' fleetroot-station provision --device-id test-8
}
