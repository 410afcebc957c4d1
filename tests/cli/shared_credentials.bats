#!/usr/bin/env bats
# Devices without hardware: credentials.zip, and aktualizr's way with it, typed with curl and openssl.
load factory
load gateway

# make_credentials [OPTION…]: credentials.zip, unpacked in shared/
make_credentials() {
  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip "$@"
  python3 -m zipfile -e credentials.zip shared
}

# register DEVICE-ID [CURL-OPTION…]: status on stdout, the answer in DEVICE-ID.p12
register() {
  curl --silent --max-time 60 --cacert shared/server_ca.pem --cert shared/autoprov_credentials.p12: --cert-type P12 \
    "$test/devices" --data "{\"deviceId\": \"$1\", \"ttl\": 36000}" --output "$1.p12" --write-out '%{http_code}\n' "${@:2}"
}

code_in() {
  jq -r .code "$1"
}

@test "aktualizr's flow: register, take the PKCS#12, connect again with it" {
  make_gateway
  make_credentials --url https://gw.example.test:8443
  [[ $(<shared/autoprov.url) == https://gw.example.test:8443 ]]
  start_gateway

  [[ $(register dev-1) == 200 ]]

  openssl pkcs12 -in dev-1.p12 -passin pass: -nodes -clcerts -nokeys -out dev-1.pem
  openssl pkcs12 -in dev-1.p12 -passin pass: -nodes -nocerts -out dev-1.key
  openssl pkcs12 -in dev-1.p12 -passin pass: -cacerts -nokeys | openssl x509 -out root.pem
  cmp root.pem gw/environments/test/gateway-root.pem
  openssl verify -x509_strict -purpose sslclient -CAfile gw/environments/test/fleet-root.pem dev-1.pem
  [[ $(as dev-1 test /whoami | jq -r .device_id) == dev-1 ]]
  [[ $(devices_in test | jq -r '.device_id + " " + .origin') == "dev-1 provisioned" ]]
}

@test "what is no device ID is called that: there is no common name in a request" {
  make_gateway
  make_credentials
  start_gateway

  [[ $(register 'SX 3') == 400 ]]

  [[ $(jq -r '.code + ": " + .description' 'SX 3.p12') == 'invalid_device_id: the name is no device ID' ]]
}

@test "the ID is taken: 409 device_already_registered, for a replay too" {
  make_gateway
  make_credentials
  start_gateway
  [[ $(register dev-1) == 200 ]]
  before=$(devices_in test)

  [[ $(register dev-1) == 409 ]]

  [[ $(code_in dev-1.p12) == device_already_registered ]]
  [[ $(devices_in test) == "$before" ]]
  has_logged '.reason == "device_already_registered"'
  [[ $(fleetroot-gateway credentials list --home gw --json | jq .used) == 1 ]]
}

@test "nothing of a device's key is on the gateway's disk or in its memory afterwards" {
  [[ -z ${ASAN_OPTIONS:-} ]] || skip 'the sanitizer has memory of its own'
  make_gateway
  make_credentials
  start_gateway
  [[ $(register dev-1) == 200 ]]
  openssl pkcs12 -in dev-1.p12 -passin pass: -nodes -nocerts -out dev-1.key
  cat >search.py <<'PYTHON'
import pathlib, re, sys
from cryptography.hazmat.primitives import serialization
key = serialization.load_pem_private_key(open('dev-1.key', 'rb').read(), None)
scalar = key.private_numbers().private_value.to_bytes(32, 'big')
public = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
secrets = [scalar, scalar[::-1], open('dev-1.p12', 'rb').read()[60:160]]
for path in pathlib.Path('gw').rglob('*'):
    if path.is_file() and any(s in path.read_bytes() for s in secrets):
        sys.exit(f'{path} holds it')
seen = 0
with open(f'/proc/{sys.argv[1]}/maps') as maps, open(f'/proc/{sys.argv[1]}/mem', 'rb', 0) as memory:
    for line in maps:
        begin, end, mode = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+)', line).groups()
        if not mode.startswith('rw'):
            continue
        try:
            memory.seek(int(begin, 16))
            content = memory.read(int(end, 16) - int(begin, 16))
        except (OSError, ValueError, OverflowError):
            continue
        if any(s in content for s in secrets):
            sys.exit(f'the memory at {line.strip()} holds it')
        seen += content.count(sys.argv[2].encode())
if seen == 0:
    sys.exit('this search finds nothing, not even what is there')
PYTHON
  ((EUID == 0)) || skip "only root may read another process's memory"

  python3 search.py "$gateway" gw.example.test
}

@test "revoked, expired, used up: no more devices" {
  make_gateway
  make_credentials --quota 1
  start_gateway
  [[ $(register dev-1) == 200 ]]
  [[ $(register dev-2) == 403 ]]
  [[ $(code_in dev-2.p12) == shared_credentials_used_up ]]

  refused 65 'no provisioning key' fleetroot-gateway credentials revoke --home gw --name key-000000000000
  name=$(fleetroot-gateway credentials list --home gw --json | jq -r .name)
  run -0 fleetroot-gateway credentials revoke --home gw --name "$name" --dry-run
  [[ $output == *"has made 1 of 1"* ]]
  fleetroot-gateway credentials list --home gw --json | jq -e '.revoked == false'
  fleetroot-gateway credentials revoke --home gw --name "$name"
  wait_for has_logged '.event == "trust.reloaded"'
  run ! register dev-2
  wait_for has_logged '.reason == "shared_credentials_revoked"'

  rm -r shared credentials.zip
  generation=$(logged '.event == "trust.reloaded"')
  faketime '-2 days' fleetroot-gateway credentials create --home gw --environment test --out credentials.zip --expires 1
  python3 -m zipfile -e credentials.zip shared
  reloaded() { (($(logged '.event == "trust.reloaded"') > generation)); }
  wait_for reloaded
  run ! register dev-2
  wait_for has_logged '.reason == "shared_credentials_expired"'
  [[ $(devices_in test | jq -r .device_id) == dev-1 ]]
}

@test "a provisioning key is for POST /devices, a device's for everything else, and neither for production" {
  make_gateway
  make_credentials
  start_gateway
  register dev-1
  openssl pkcs12 -in dev-1.p12 -passin pass: -nodes -out dev-1.pem
  cp dev-1.pem dev-1.key
  cp shared/autoprov_credentials.p12 key.p12
  shared() { ask "$1" "$2" --cert key.p12: --cert-type P12 "${@:3}"; }

  [[ $(shared test /whoami) == *'"code":"only_for_provisioning"'* ]]
  [[ $(as dev-1 test /devices --data '{"deviceId":"dev-2"}') == *'"code":"not_a_provisioning_key"'* ]]
  run ! shared production /devices --data '{"deviceId":"dev-2"}'
  wait_for has_logged '.environment == "production" and .reason == "shared_credentials_not_allowed"'
  run ! as dev-1 production /whoami
  wait_for has_logged '.environment == "production" and .reason == "other_environment"'
  refused 78 'allows no shared credentials' \
    fleetroot-gateway credentials create --home gw --environment production --out p.zip
  [[ ! -e p.zip ]]
}

@test "wishes that are none: bad JSON, no ID, a bad one, no time to live, too much of it, and what is not described" {
  make_gateway
  make_credentials
  start_gateway
  wish() { ask test /devices --cert shared/autoprov_credentials.p12: --cert-type P12 --data "$1" "${@:2}" | jq -r .code; }

  [[ $(wish '{') == bad_json ]]
  [[ $(wish '[]') == bad_json ]]
  [[ $(wish '{"ttl":1}') == bad_json ]]
  [[ $(wish '{"deviceId":"a"}') == bad_json ]]
  [[ $(wish '{"deviceId":7,"ttl":1}') == bad_json ]]
  [[ $(wish '{"deviceId":"a","deviceId":"b","ttl":1}') == bad_json ]]
  [[ $(wish '{"deviceId":"a","ttl":1,"owner":"me"}') == bad_json ]]
  [[ $(wish '{"deviceId":"a","ttl":36501}') == ttl_too_long ]]
  [[ $(wish '{"deviceId":"a","ttl":"99999999"}') == ttl_too_long ]]
  [[ $(wish '{"deviceId":"a","ttl":0}') == bad_json ]]
  [[ $(wish '{"deviceId":"a","ttl":"soon"}') == bad_json ]]
  [[ $(wish '{"deviceId":"a/b","ttl":1}') == invalid_device_id ]]
  [[ -z $(devices_in test) ]]
  [[ $(fleetroot-gateway credentials list --home gw --json | jq .used) == 0 ]]
  wish '{"deviceId":"longest","ttl":"36500"}' --fail --output longest.p12
  openssl pkcs12 -in longest.p12 -passin pass: -nodes -out longest.pem
}

@test "a registry that cannot be written: no credentials, and why" {
  make_gateway
  mv gw/registry.db registry.db

  refused 74 'registry gw/registry.db is gone' \
    fleetroot-gateway credentials create --home gw --environment test --out credentials.zip

  [[ ! -e credentials.zip ]]
}
