#!/usr/bin/env bats
# What a factory says it has delivered: the gateway believes the CA that made it, and nobody else.
load factory
load gateway

be_strict() {
  sed -i '/^\[environment.production\]/,/^strict/s/^strict = false/strict = true/' gw/gateway.toml
  grep -q '^strict = true' gw/gateway.toml
}

import() {
  fleetroot-gateway manifest import --home gw --environment production --ca-certificate factory/ca.pem "$@"
}

digest() {
  openssl dgst -sha256 -r | cut -d ' ' -f 1
}

# entry FILE ID [SUPERSEDES [STATUS]]: what a manifest says of the certificate in FILE.pem
entry() {
  jq -n --arg id "$2" --arg supersedes "${3:-}" --arg status "${4:-issued}" \
    --arg key "$(openssl x509 -in "$1.pem" -noout -pubkey | openssl pkey -pubin -outform DER | digest)" \
    --arg certificate "$(openssl x509 -in "$1.pem" -outform DER | digest)" \
    '{device_id: $id, public_key_sha256: $key, certificate_sha256: $certificate, issued_at: "2026-11-25T00:00:00Z",
      supersedes: $supersedes, status: $status}'
}

# manifest NAME CREATED SIGNER ENTRY…: NAME.manifest, signed with SIGNER.pem and SIGNER.key
manifest() {
  printf '%s\n' "${@:4}" | jq -cs --arg created "$2" \
    '{format: "fleetroot-manifest/1", order: "PO-1", created: $created, devices: .}' >"$1.json"
  sign "$1" "$3"
}
# sign NAME SIGNER: NAME.manifest of NAME.json
sign() {
  openssl cms -sign -binary -nodetach -keyid -nosmimecap -md sha256 -signer "$2.pem" -inkey "$2.key" -outform DER \
    -in "$1.json" -out "$1.manifest"
}

@test "a strict environment admits what the factory's own manifest names, and nobody before it came" {
  make_factory 1FLEET0000000001 1FLEET0000000002
  make_token dev-1
  provision dev-1 1FLEET0000000001
  fleetroot-ca ledger export --home ca --order PO-1 --out order.manifest
  make_token dev-2
  provision dev-2 1FLEET0000000002
  make_gateway
  be_strict
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  start_gateway
  whoami() {
    on_token "$1" fleetroot-station verify --home st --device-id "$2" --gateway "$production" \
      --gateway-ca gw/environments/production/gateway-root.pem --token "$(token_uri "$1")"
  }

  run ! whoami dev-1 1FLEET0000000001
  wait_for has_logged '.reason == "not_on_manifest"'
  run -0 fleetroot-gateway manifest import --home gw --environment production --ca-certificate ca/issuing-ca.pem order.manifest
  [[ $output == "imported: order PO-1, 1 certificates" ]]
  run -0 fleetroot-gateway manifest import --home gw --environment production --ca-certificate ca/issuing-ca.pem order.manifest
  [[ $output == "already here"* ]]
  whoami dev-1 1FLEET0000000001
  run ! whoami dev-2 1FLEET0000000002
  [[ $(devices_in production | jq -r .device_id) == 1FLEET0000000001 ]]
}

@test "a manifest is taken from a CA of this environment, unchanged, and never an older one" {
  make_world
  mkdir other
  "$pki" root other "Other Root"
  manifest good 2026-11-25T02:00:00Z factory/ca "$(entry dev 1FLEET-1)"
  manifest older 2026-11-25T01:00:00Z factory/ca
  manifest foreign 2026-11-25T03:00:00Z other/ca
  manifest by-device 2026-11-25T03:00:00Z dev "$(entry dev 1FLEET-1)"
  sed 's/1FLEET-1/1FLEET-2/' good.manifest >altered.manifest
  cat factory/ca.pem dev.pem >both.pem

  refused 65 'no CA that this environment knows' import foreign.manifest
  refused 65 'does not chain' fleetroot-gateway manifest import --home gw --environment production \
    --ca-certificate other/ca.pem foreign.manifest
  refused 65 'is not the certificate of a CA' import --ca-certificate both.pem by-device.manifest
  refused 65 'does not verify' import altered.manifest
  refused 65 'no signed document' import good.json
  refused 65 'no CA that this environment knows' fleetroot-gateway manifest import --home gw --environment test good.manifest
  run -0 import --dry-run good.manifest
  [[ $output == "would be imported: order PO-1, 1 certificates" ]]
  run -0 import good.manifest
  [[ $output == "imported: "* ]]
  refused 65 'one from 2026-11-25T02:00:00Z is here' import older.manifest
}

@test "a revoked CA delivers nothing any more" {
  make_world
  manifest good 2026-11-25T02:00:00Z factory/ca "$(entry dev 1FLEET-1)"
  "$pki" root-crl factory 1 root-crl.pem factory/ca.pem
  fleetroot-gateway crl import --home gw --environment production root-crl.pem

  refused 65 'is revoked' import good.manifest
}

@test "a new key under a known name: alarmed until a manifest says rework; the old one is superseded" {
  make_world
  "$pki" device factory 1FLEET-1 new
  start_gateway
  [[ $(as dev production /whoami | jq -r .standing) == joined ]]

  run ! as new production /whoami
  wait_for has_logged '.event == "alarm" and .reason == "device_id_taken"'
  manifest first 2026-11-25T01:00:00Z factory/ca "$(entry new 1FLEET-1)"
  run -0 import first.manifest
  run ! as new production /whoami
  manifest second 2026-11-25T02:00:00Z factory/ca "$(entry new 1FLEET-1 5e01)"
  run -0 import second.manifest
  wait_for has_logged '.event == "trust.reloaded"'

  [[ $(as new production /whoami | jq -r .standing) == reworked ]]
  run ! as dev production /whoami
  wait_for has_logged '.reason == "superseded"'
}

# One that the gateway knows, and one that it has never seen.
supersede_two_devices() {
  make_world
  "$pki" device factory 1FLEET-1 new
  "$pki" device factory 1FLEET-2 old-2
  "$pki" device factory 1FLEET-2 new-2
  start_gateway
  as dev production /whoami
  manifest rework 2026-11-25T01:00:00Z factory/ca "$(entry dev 1FLEET-1 '' revoked)" "$(entry new 1FLEET-1 5e01)" \
    "$(entry old-2 1FLEET-2 '' revoked)" "$(entry new-2 1FLEET-2 5e02)"
  import rework.manifest
}

@test "what a manifest has superseded stays out, whether the device was known or not, and before its new key has come" {
  supersede_two_devices

  run ! as dev production /whoami
  run ! as old-2 production /whoami
  superseded() { (($(logged '.event == "connection.refused" and .reason == "superseded"') == 2)); }
  wait_for superseded
  [[ $(as new production /whoami | jq -r .standing) == reworked ]]
  [[ $(as new-2 production /whoami | jq -r .standing) == joined ]]
}

@test "what a manifest has superseded stays out with its other signature too, for which nobody needs a key" {
  make_world
  "$pki" device factory 1FLEET-1 new
  start_gateway
  as dev production /whoami
  openssl x509 -in dev.pem -outform DER -out dev.der
  "$BATS_TEST_DIRNAME/mirror-signature" dev.der twin.der
  openssl x509 -in twin.der -out twin.pem
  run ! cmp dev.der twin.der
  openssl verify -CAfile factory/root.pem -untrusted factory/ca.pem twin.pem
  cat factory/ca.pem >>twin.pem
  cp dev.key twin.key
  [[ $(as twin production /whoami | jq -r .standing) == admitted ]]
  manifest rework 2026-11-25T01:00:00Z factory/ca "$(entry dev 1FLEET-1 '' revoked)" "$(entry new 1FLEET-1 5e01)"

  import rework.manifest
  wait_for has_logged '.event == "trust.reloaded"'

  run ! as twin production /whoami
  wait_for has_logged '.event == "connection.refused" and .reason == "superseded"'
  "$BATS_TEST_DIRNAME/mirror-signature" rework.manifest again.manifest
  run -0 import again.manifest
  [[ $output == "already here"* ]]
  manifest newest 2026-11-25T02:00:00Z factory/ca "$(entry new 1FLEET-1 5e01)"
  import newest.manifest
  openssl x509 -in factory/ca.pem -outform DER -out ca.der
  "$BATS_TEST_DIRNAME/mirror-signature" ca.der ca-twin.der
  openssl x509 -in ca-twin.der -out ca-twin.pem
  cp factory/ca.key ca-twin.key # in its place anybody can put the twin into the manifest
  sign rework ca-twin
  refused 65 'one from 2026-11-25T02:00:00Z is here' fleetroot-gateway manifest import --home gw --environment production \
    --ca-certificate ca-twin.pem rework.manifest
}

@test "a registry of a build that knew certificates alone: what it knew holds, and the same manifest tells it the keys" {
  supersede_two_devices
  stop_gateway
  of() { openssl x509 -in "$1.pem" -outform DER | digest; }
  sqlite3 gw/registry.db <<SQL
DROP TABLE revoked_keys;
ALTER TABLE devices DROP COLUMN tbs;
INSERT INTO revoked_certificates VALUES ('production', '$(of dev)'), ('production', '$(of old-2)');
UPDATE manifests SET ca = '$(of factory/ca)', digest = '$(digest <rework.manifest)';
PRAGMA user_version = 2;
SQL

  start_gateway

  run ! as dev production /whoami
  run ! as old-2 production /whoami
  both_superseded() { (($(logged '.reason == "superseded"') == 2)); }
  wait_for both_superseded
  [[ $(sqlite3 gw/registry.db 'SELECT device_id FROM revoked_keys') == 1FLEET-1 ]]
  run -0 import rework.manifest
  [[ $output == "imported: "* ]]
  [[ $(sqlite3 gw/registry.db 'SELECT device_id FROM revoked_keys') == $'1FLEET-1\n1FLEET-2' ]]
}

@test "a device whose new certificate is dated before the old one is not lost" {
  make_world
  "$pki" device factory 1FLEET-1 new
  start_gateway
  as dev production /whoami
  manifest first 2026-11-25T01:00:00Z factory/ca "$(entry dev 1FLEET-1)"
  import first.manifest
  manifest second 2026-11-25T02:00:00Z factory/ca \
    "$(entry new 1FLEET-1 5e01 | jq '.issued_at = "2026-11-24T00:00:00Z"')" "$(entry dev 1FLEET-1 '' revoked)"

  run -0 import second.manifest

  [[ $(as new production /whoami | jq -r .standing) == reworked ]]
}

@test "papers of a large fleet are taken: 64 MiB of manifest, 16 MiB of revocation list, and more" {
  make_world
  python3 - <<'PYTHON'
import json
def device(number):
    return {'device_id': f'1FLEET-{number}', 'public_key_sha256': f'{number:064x}', 'certificate_sha256': f'{number:064x}',
            'issued_at': '2026-11-25T00:00:00Z', 'supersedes': '', 'status': 'issued', 'superseded_by': '', 'padding': ' ' * 250}
with open('large.json', 'w') as file:
    json.dump({'format': 'fleetroot-manifest/1', 'order': 'PO-1', 'created': '2026-11-25T01:00:00Z',
               'devices': [device(number) for number in range(130000)]}, file)
with open('index.txt', 'w') as file:
    file.writelines(f'R\t301231000000Z\t261125000000Z,keyCompromise\t{2**150 + number:X}\tunknown\t/CN={number}\n' for number in range(260000))
PYTHON
  sign large factory/ca
  printf '%s\n' '[ca]' 'default_ca = own' '[own]' 'database = index.txt' 'crlnumber = number' 'default_md = sha256' \
    'default_crl_days = 30' 'crl_extensions = extensions' '[extensions]' 'authorityKeyIdentifier = keyid:always' >ca.cnf
  echo 01 >number
  openssl ca -config ca.cnf -gencrl -cert factory/ca.pem -keyfile factory/ca.key -out crl.pem
  (($(stat -c %s large.manifest) > 64 << 20 && $(stat -c %s crl.pem) > 16 << 20))

  run -0 import large.manifest
  [[ $output == *", 130000 certificates" ]]
  run -0 fleetroot-gateway crl import --home gw --environment production --ca-certificate factory/ca.pem crl.pem
  [[ $output == *", 260000 certificates" ]]
}

@test "delta lists: only over the complete one that they belong to" {
  make_factory 1FLEET0000000001
  make_token dev-1
  provision dev-1 1FLEET0000000001
  make_gateway
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  fleetroot-ca crl publish --home ca
  cp ca/crl.pem complete.pem
  fleetroot-ca cert revoke --home ca --device-id 1FLEET0000000001 --reason keyCompromise
  fleetroot-ca crl publish --home ca --delta
  import_list() {
    fleetroot-gateway crl import --home gw --environment production --ca-certificate ca/issuing-ca.pem "$1"
  }

  refused 65 'delta to number 1, which is not here' import_list ca/delta-crl.pem
  run -0 import_list complete.pem
  run -0 import_list ca/delta-crl.pem

  start_gateway
  run ! on_token dev-1 fleetroot-station verify --home st --device-id 1FLEET0000000001 --gateway "$production" \
    --gateway-ca gw/environments/production/gateway-root.pem --token "$(token_uri dev-1)"
  wait_for has_logged '.reason == "revoked"'
  [[ -z $(devices_in production) ]]
}
