#!/usr/bin/env bats
# After the line: broken tokens, scrapped devices, revoked certificates.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1 DEV-2
  make_token dev-1 dev-2
}

ca() {
  fleetroot-ca "$1" "$2" --home ca "${@:3}"
}

# live_serials DEVICE-ID: of its certificates that are issued and not revoked
live_serials() {
  ca cert list --json | jq -r --arg id "$1" 'select(.device_id == $id and .state == "issued").serial'
}

# public_key_of DEVICE-ID: of its live certificate
public_key_of() {
  ca cert show --device-id "$1" --json | jq -r .public_key
}

@test "a broken token: refused, authorised, provisioned on a new one, and the old one is out" {
  provision dev-1 DEV-1
  old=$(live_serials DEV-1)
  remember dev-1 dev-2
  refused 65 'DEV-1' provision dev-2 DEV-1
  nothing_changed
  [[ $(error_code provision dev-2 DEV-1) == device_has_certificate ]]

  ca rework authorize --device-id DEV-1 --reason "token broken"
  provision dev-2 DEV-1

  new=$(live_serials DEV-1)
  [[ $(wc -l <<<"$new") == 1 && $new != "$old" ]]
  ca cert show --serial "$old" --json | jq -e '.state == "revoked" and .revocation_reason == "superseded"'
  ca cert show --serial "$new" --json | jq -e --arg old "$old" '.supersedes == $old and .confirmation == "accepted"'
  ca order show --id PO-1 --json | jq -e '.used == 1 and .issued == 1 and .confirmed == 1 and .missing == ["DEV-2"]'
  ca rework list --json | jq -e --arg new "$new" '.state == "used" and .serial == $new and .reason == "token broken"'
  on_token dev-2 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-2)"
  run -0 provision dev-2 DEV-1 # already done
  refused 65 'before its rework' provision dev-1 DEV-1
  refused 65 'before its rework' provision dev-1 DEV-2
}

@test "at another station, which never saw the old token" {
  provision dev-1 DEV-1
  make_station st2 st-02
  ca rework authorize --device-id DEV-1

  on_token dev-2 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 --token "$(token_uri dev-2)"

  [[ $(live_serials DEV-1 | wc -l) == 1 ]]
  # and the old token, which is whole, is no longer taken for the device's
  remember dev-1 dev-2
  refused 65 'another token' on_token dev-1 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"
  nothing_changed
}

@test "a request from before the rework, refused then, uses nothing up, whoever brings it" {
  make_station st2 st-02
  make_token dev-3
  printf '#!/bin/sh\ntee captured | fleetroot-ca respond --home ca\n' >capturing-ca
  chmod +x capturing-ca
  provision dev-1 DEV-1
  old=$(live_serials DEV-1)
  refused 65 'DEV-1' on_token dev-2 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-2)" --ca exec:./capturing-ca
  [[ $(objects_on dev-2) == 0 ]]
  # and one that waits for a stick meanwhile
  provision dev-3 DEV-1 --ca media:queue
  fleetroot-station media export --home st --queue queue --out stick
  days_later 1 ca rework authorize --device-id DEV-1

  days_later 1 fleetroot-ca respond --home ca <captured >answer
  grep --text --quiet 'before its rework was authorised at .*device_has_certificate' answer
  days_later 1 fleetroot-ca media process --home ca stick
  days_later 1 fleetroot-station media import --home st --queue queue stick
  refused 65 'was made at .*, before its rework was authorised at' days_later 1 provision dev-3 DEV-1 --ca media:queue

  [[ $(objects_on dev-3) == 0 ]]
  [[ $(live_serials DEV-1) == "$old" && $(ca rework list --json | jq -r .state) == authorised ]]
  days_later 1 provision dev-3 DEV-1 --ca media:queue
  days_later 1 fleetroot-station media export --home st --queue queue --out stick
  days_later 1 fleetroot-ca media process --home ca stick
  days_later 1 fleetroot-station media import --home st --queue queue stick
  run -0 days_later 1 provision dev-3 DEV-1 --ca media:queue
  [[ $output == *'PASS DEV-1'* && $(live_serials DEV-1) != "$old" ]]
  [[ $(ca rework list --json | jq -r .state) == used ]]
}

@test "a token that was initialised anew" {
  provision dev-1 DEV-1
  stranger dev-1 --delete-object --type privkey --id 01
  stranger dev-1 --delete-object --type pubkey --id 01
  stranger dev-1 --delete-object --type cert --id 01
  refused 65 'nothing of that is left on the token dev-1' provision dev-1 DEV-1
  [[ $stderr == *': hint: '*'run provision with --rework'* ]]
  [[ $(error_code provision dev-1 DEV-1) == device_has_certificate ]]
  refused 65 'DEV-1' provision dev-1 DEV-1 --rework
  [[ $(objects_on dev-1) == 0 ]]

  ca rework authorize --device-id DEV-1
  provision dev-1 DEV-1 --rework

  [[ $(live_serials DEV-1 | wc -l) == 1 ]]
  [[ $(objects_on dev-1 Certificate) == 1 ]]
  # the station cannot know of a second rework
  remember dev-1
  refused 65 'holds what device DEV-1 was provisioned with, and a rework needs a new key' provision dev-1 DEV-1 --rework
  [[ $stderr == *'the same command without --rework says so'* ]]
  run -0 provision dev-1 DEV-1
  [[ $output == PASS*'already provisioned'* ]]
  nothing_changed
}

@test "a scrapped device's token is free for another once it is emptied" {
  provision dev-1 DEV-1
  fleetroot-ca scrap --home ca --device-id DEV-1 --cause damaged
  refused 65 'belongs to device DEV-1, which is provisioned' provision dev-1 DEV-2
  [[ $stderr == *'if that was scrapped, empty the token'* ]]
  for type in privkey pubkey; do stranger dev-1 --delete-object --type $type --id 01; done
  refused 65 'belongs to device DEV-1' provision dev-1 DEV-2
  stranger dev-1 --delete-object --type cert --id 01

  run -0 provision dev-1 DEV-2

  run -0 provision dev-1 DEV-2
  refused 65 'belongs to device DEV-2' provision dev-1 DEV-1
}

@test "an emptied token of a device that another station recorded" {
  provision dev-1 DEV-1
  rm st/journal.db*
  provision dev-1 DEV-1 # which notes what is there
  refused 65 'belongs to device DEV-1' provision dev-1 DEV-2
  refused 65 'a rework needs a new key' provision dev-1 DEV-1 --rework
  for type in privkey pubkey cert; do stranger dev-1 --delete-object --type $type --id 01; done
  refused 65 'nothing of that is left' provision dev-1 DEV-1
}

@test "two devices with one label: the one that comes second to its certificate hears why it gets none" {
  run -69 provision dev-1 DEV-1 --ca exec:false
  provision dev-2 DEV-1
  remember dev-1

  for id in DEV-1 DEV-2; do
    refused 65 'holds what device DEV-1 was begun with, before it was finished on another token' provision dev-1 $id
    [[ $stderr == *'two devices with one label'* ]]
  done

  nothing_changed
  for type in privkey pubkey; do stranger dev-1 --delete-object --type $type --id 01; done
  run -0 provision dev-1 DEV-2
}

@test "a rework is used once, and taken back before that" {
  make_token dev-3
  provision dev-1 DEV-1
  ca rework authorize --device-id DEV-1
  ca rework authorize --device-id DEV-1 # said twice is one
  ca rework withdraw --device-id DEV-1
  refused 65 'DEV-1' provision dev-2 DEV-1
  refused 65 'no rework' ca rework withdraw --device-id DEV-1
  ca rework authorize --device-id DEV-1
  provision dev-2 DEV-1
  refused 65 'DEV-1' provision dev-3 DEV-1
  [[ $(objects_on dev-3) == 0 ]]
  [[ $(ca rework list --json | jq -r .state | sort | uniq -c | xargs) == "1 used 1 withdrawn" ]]
}

@test "a rework's reason is plain text, and a list shows nothing else" {
  provision dev-1 DEV-1
  for reason in $'\xff' $'a\e[31mred' $'one\nFAKE LINE'; do
    refused 64 'reason is no plain text' ca rework authorize --device-id DEV-1 --reason "$reason"
  done
  [[ -z $(ca rework list --json) ]]
  ca rework authorize --device-id DEV-1 --reason 'Gehäuse defekt'
  [[ $(ca rework list --json | jq -r .reason) == 'Gehäuse defekt' ]]
  # what was taken by an earlier version
  sqlite3 ca/ledger.db "UPDATE reworks SET reason = 'red' || char(27) || '[31m' || char(10) || 'FAKE LINE'"
  run -0 ca rework list
  [[ ${#lines[@]} == 2 && ${lines[1]} == *'red\x1b[31m\x0aFAKE LINE' ]]
}

@test "the CA killed in the middle of a rework: one live certificate, one re-run" {
  provision dev-1 DEV-1
  old=$(public_key_of DEV-1)
  ca rework authorize --device-id DEV-1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -subj /CN=DEV-1 -out new.csr
  issue() {
    ca cert issue --order PO-1 --device-id DEV-1 --request new.csr --out new.pem
  }
  # at every moment at which something becomes durable, one after the other, until it gets through
  for ((nth = 1; nth < 50; nth++)); do
    rm -f new.pem
    strace -f -qq -o /dev/null -e trace=fdatasync,fsync -e inject=fdatasync,fsync:signal=KILL:when="$nth" \
      fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request new.csr --out new.pem && break
    [[ $(live_serials DEV-1 | wc -l) == 1 ]]
  done
  ((nth > 2 && nth < 50))
  issue
  [[ $(live_serials DEV-1 | wc -l) == 1 ]]
  [[ $(public_key_of DEV-1) != "$old" ]]
  openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem new.pem
  ca ledger verify
  ca order show --id PO-1 --json | jq -e '.used == 1'
  [[ $(ca rework list --json | jq -r .state) == used ]]
}

@test "a scrapped device: revoked, and refused by name" {
  provision dev-1 DEV-1
  remember dev-1 dev-2
  run -0 ca_scrap --dry-run
  [[ $output == *"nothing has changed"* ]]
  nothing_changed

  ca_scrap
  ca_scrap # said twice

  [[ -z $(live_serials DEV-1) ]]
  ca order show --id PO-1 --json | jq -e '.missing == ["DEV-2"]'
  [[ $(error_code provision dev-2 DEV-1) == device_scrapped ]]
  refused 65 'scrapped' ca rework authorize --device-id DEV-1
  refused 64 'no cause' fleetroot-ca scrap --home ca --device-id DEV-1 --cause bored
  refused 65 'no order' fleetroot-ca scrap --home ca --device-id DEV-9 --cause damaged
  provision dev-2 DEV-2
}

@test "a device that is revoked already keeps the reason that it was revoked for, and scrap says so" {
  provision dev-1 DEV-1
  serial=$(live_serials DEV-1)
  ca cert revoke --device-id DEV-1 --reason unspecified
  for dry_run in --dry-run ''; do
    run -0 fleetroot-ca scrap --home ca --device-id DEV-1 --cause stolen ${dry_run:+"$dry_run"}
    [[ $output == *"its certificate $serial was revoked at "*" (unspecified), and that stays" ]]
  done
  ca cert show --serial "$serial" --json | jq -e '.revocation_reason == "unspecified"'
  run -0 fleetroot-ca scrap --home ca --device-id DEV-2 --cause damaged
  [[ $output == *"it had no certificate, and gets none" ]]
}

ca_scrap() {
  fleetroot-ca scrap --home ca --device-id DEV-1 --cause damaged "$@"
}

@test "a revoked certificate, by device and by serial number" {
  provision dev-1 DEV-1
  provision dev-2 DEV-2
  ca cert revoke --device-id DEV-1 --reason keyCompromise --dry-run
  [[ -n $(live_serials DEV-1) ]]
  ca cert revoke --device-id DEV-1 --reason keyCompromise
  ca cert revoke --serial "$(live_serials DEV-2)" --reason cessationOfOperation
  [[ -z $(live_serials DEV-1)$(live_serials DEV-2) ]]
  run -0 ca cert revoke --device-id DEV-1 --reason superseded
  [[ $output == *keyCompromise* ]]
  refused 64 'certificateHold' ca cert revoke --device-id DEV-2 --reason certificateHold
  refused 64 'no reason for a revocation' ca cert revoke --device-id DEV-2 --reason keycompromise
  [[ $stderr == *"hint: choose keyCompromise, "* && $stderr != *certificateHold* ]]
  refused 64 'device or a serial' ca cert revoke --reason superseded
  refused 65 'no certificate' ca cert revoke --serial 0102 --reason superseded
  refused 65 'DEV-1 has no live certificate: its last one was revoked at .* \(keyCompromise\)' ca cert show --device-id DEV-1
}

# publish_list [OPTION…]: the JSON of it
publish_list() {
  fleetroot-ca crl publish --home ca --json "$@"
}

# openssl_verifies PEM: with the published list
openssl_verifies() {
  openssl verify -x509_strict -purpose sslclient -crl_check -CRLfile ca/crl.pem -CAfile ca/fleet-root.pem \
    -untrusted ca/issuing-ca.pem "$1"
}

@test "revocation lists, judged by OpenSSL and GnuTLS" {
  provision dev-1 DEV-1
  provision dev-2 DEV-2
  ca cert show --device-id DEV-1 --pem >one.pem
  ca cert show --device-id DEV-2 --pem >two.pem
  publish_list | jq -e '.number == 1 and .entries == 0 and .base == null'
  openssl_verifies one.pem

  ca cert revoke --device-id DEV-1 --reason keyCompromise
  fleetroot-ca station revoke --home ca --name st-01 --reason privilegeWithdrawn
  publish_list | jq -e '.number == 2 and .entries == 2'

  run ! openssl_verifies one.pem
  [[ $output == *"certificate revoked"* ]]
  openssl_verifies two.pem
  openssl crl -in ca/crl.pem -CAfile ca/issuing-ca.pem -noout
  openssl crl -inform DER -in ca/crl.der -noout -text >text
  grep -q 'Key Compromise' text && grep -q 'Privilege Withdrawn' text && grep -A1 'CRL Number' text | grep -qx ' *2'
  certtool --verify-crl --infile ca/crl.pem --load-ca-certificate ca/issuing-ca.pem
  cmp <(openssl crl -in ca/crl.pem -outform DER) ca/crl.der
}

@test "delta lists, copies, the root's list" {
  mkdir stick
  refused 78 'complete' fleetroot-ca crl publish --home ca --delta
  publish_list --out stick
  cmp ca/crl.der stick/crl.der
  provision dev-1 DEV-1
  ca cert revoke --device-id DEV-1 --reason superseded
  publish_list --delta --out stick | jq -e '.number == 2 and .base == 1 and .entries == 1'
  openssl crl -inform DER -in stick/delta-crl.der -noout -text >text
  grep -q 'X509v3 Delta CRL Indicator: critical' text
  openssl crl -in ca/delta-crl.pem -CAfile ca/issuing-ca.pem -noout
  publish_list --root | jq -e '.number == 1 and .entries == 0'
  # both together are what nginx wants of a whole chain
  cat ca/crl.pem ca/fleet-root-crl.pem >lists.pem
  ca cert show --serial "$(ca cert list --json | jq -r .serial)" --pem >one.pem
  openssl verify -x509_strict -crl_check_all -CRLfile lists.pem -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem one.pem
}

@test "a CA whose own certificate is revoked issues nothing more, and still publishes lists" {
  provision dev-1 DEV-1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -subj /CN=DEV-2 -out new.csr
  fleetroot-station init --home st2 --name st-02
  serial=$(openssl x509 -in ca/issuing-ca.pem -noout -serial)
  ca cert revoke --serial "${serial#serial=}" --reason cACompromise

  remember dev-1
  refused 78 'Issuing CA, was revoked' ca cert issue --order PO-1 --device-id DEV-2 --request new.csr --out new.pem
  refused 78 'Issuing CA, was revoked' ca station enroll --name st-02 --request st2/station.csr --out st-02.pem
  refused 78 'Issuing CA, was revoked' ca station renew --name st-01 --out st-01.pem
  refused 78 'Issuing CA, was revoked' fleetroot-ca serve --home ca --listen 127.0.0.1:0
  refused 78 'Issuing CA, was revoked' fleetroot-ca config check --home ca
  run ! provision dev-2 DEV-2
  nothing_changed

  publish_list | jq -e '.number == 1 and .entries == 0'
  publish_list --root | jq -e '.number == 1 and .entries == 1'
  # with its other signature, for which nobody needs a key, it is the same certificate
  openssl x509 -in ca/issuing-ca.pem -outform DER -out own.der
  "$BATS_TEST_DIRNAME/mirror-signature" own.der twin.der
  openssl x509 -in twin.der -out ca/issuing-ca.pem
  refused 78 'Issuing CA, was revoked' ca cert issue --order PO-1 --device-id DEV-2 --request new.csr --out new.pem
}

@test "a Fleet Root that is revoked has nothing above it: another factory CA is made" {
  fleetroot-ca init --home single --name Test --single-tier
  serial=$(openssl x509 -in single/fleet-root.pem -noout -serial)
  fleetroot-ca cert revoke --home single --serial "${serial#serial=}" --reason cACompromise
  fleetroot-station init --home st2 --name st-02
  refused 78 'Fleet Root, was revoked' fleetroot-ca station enroll --home single --name st-02 --request st2/station.csr \
    --out st-02.pem
  [[ $stderr == *"hint: make another factory CA"* ]]
  fleetroot-ca crl publish --home single --json | jq -e '.entries == 1'
}

# external_ca HOME NAME: under the offline root in root/; its ledger does not hold its own certificate
external_ca() {
  fleetroot-ca init --home "$1" --name "$2" --external-root
  fleetroot-ca root issue --home root --request "$1/issuing-ca.csr" --out "$1.issuing.pem"
  fleetroot-ca root accept --home "$1" --fleet-root root/fleet-root.pem --issuing-certificate "$1.issuing.pem"
}

@test "an issuing CA whose root is elsewhere is told that its certificate is revoked, and issues nothing more" {
  fleetroot-ca root init --home root --name Test
  rm -r ca st
  external_ca ca "Test Factory"
  make_order PO-1 DEV-1 DEV-2
  make_station
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -subj /CN=DEV-2 -out new.csr
  fleetroot-station init --home st2 --name st-02
  provision dev-1 DEV-1
  serial=$(openssl x509 -in ca/issuing-ca.pem -noout -serial)
  serial=${serial#serial=}
  fleetroot-ca cert revoke --home root --serial "$serial" --reason cACompromise
  fleetroot-ca crl publish --home root --root --json | jq -e '.entries == 1'

  run -0 ca cert revoke --serial "$serial" --reason cACompromise --dry-run
  [[ $output == *"dry run, nothing has changed: the certificate ${serial,,} of authority CN=Test Factory Issuing CA is revoked"* ]]
  fleetroot-ca config check --home ca
  ca cert revoke --serial "$serial" --reason cACompromise
  run -0 ca cert revoke --serial "$serial" --reason superseded
  [[ $output == *"was revoked at "*"(cACompromise)"* ]]

  remember dev-1
  refused 78 'Issuing CA, was revoked' ca cert issue --order PO-1 --device-id DEV-2 --request new.csr --out new.pem
  refused 78 'Issuing CA, was revoked' ca station enroll --name st-02 --request st2/station.csr --out st-02.pem
  refused 78 'Issuing CA, was revoked' ca station renew --name st-01 --out st-01.pem
  refused 78 'Issuing CA, was revoked' fleetroot-ca serve --home ca --listen 127.0.0.1:0
  refused 78 'Issuing CA, was revoked' fleetroot-ca config check --home ca
  refused 78 'the CA cannot issue.*was revoked' provision dev-2 DEV-2
  nothing_changed
  fleetroot-ca ledger verify --home ca

  # its own lists do not name it: that is for the root's
  ca cert revoke --device-id DEV-1 --reason keyCompromise
  publish_list | jq -e '.number == 1 and .entries == 1'
  # nor does another certificate for its key bring it back
  fleetroot-ca root init --home root-2 --name "Test 2"
  fleetroot-ca root issue --home root-2 --request ca/issuing-ca.csr --out again.pem
  refused 78 'Issuing CA, was revoked' fleetroot-ca root accept --home ca --fleet-root root-2/fleet-root.pem \
    --issuing-certificate again.pem
  # and no other CA's certificate is its
  refused 65 'no certificate has been issued' ca cert revoke --reason cACompromise \
    --serial "$(openssl x509 -in root/fleet-root.pem -noout -serial | cut -d = -f 2)"
}

@test "a home with one of the keys says which list it has" {
  fleetroot-ca root init --home root --name Test
  refused 78 'no issuing key' fleetroot-ca crl publish --home root
  [[ $stderr == *"hint: add --root"* ]]
  fleetroot-ca crl publish --home root --root
  fleetroot-ca init --home single --name Test --single-tier
  refused 78 'single tier' fleetroot-ca crl publish --home single --root
  [[ $stderr == *"hint: leave out --root"* ]]
  fleetroot-ca crl publish --home single
}

@test "no list is published over another CA's" {
  mkdir stick
  publish_list --out stick
  publish_list --delta --out stick
  fleetroot-ca init --home other --name "Other Factory"
  fleetroot-ca crl publish --home other
  fleetroot-ca ledger verify --home other >checkpoint

  refused 73 'crl.der is a revocation list of another CA, CN=Test Factory Issuing CA' \
    fleetroot-ca crl publish --home other --out stick
  refused 73 'delta-crl.der is a revocation list of another CA' fleetroot-ca crl publish --home other --delta --out stick
  rm stick/crl.der
  refused 73 'crl.pem is a revocation list of another CA' fleetroot-ca crl publish --home other --out stick

  fleetroot-ca ledger verify --home other | diff checkpoint -
  cmp stick/crl.pem ca/crl.pem
  fleetroot-ca crl publish --home other --root --out stick
  publish_list --out stick
  truncate --size 100 stick/crl.der stick/crl.pem
  publish_list --out stick
  cmp stick/crl.der ca/crl.der
}

@test "no list is written that cannot be, and none is back-dated" {
  publish_list
  cp ca/crl.der before
  refused 73 'nowhere' fleetroot-ca crl publish --home ca --out nowhere
  cmp before ca/crl.der
  refused 78 'clock' faketime '2020-01-01' fleetroot-ca crl publish --home ca
  sed -i 's/^validity = "30 days"/validity = "none"/' ca/ca.toml
  refused 78 'crl.validity' fleetroot-ca crl publish --home ca
  openssl crl -inform DER -in ca/crl.der -noout
}

@test "lists that a clock which was ahead published: disowned, and what they named stays named" {
  provision dev-1 DEV-1
  publish_list
  ca cert revoke --device-id DEV-1 --reason keyCompromise
  # certificates that have expired by then leave the list
  days_later 8000 fleetroot-ca crl publish --home ca
  days_later 8000 fleetroot-ca crl publish --home ca --json | jq -e '.number == 3 and .entries == 0'
  refused 78 'clock' publish_list
  [[ $stderr == *--clock-was-ahead* ]]

  publish_list --clock-was-ahead | jq -e '.number == 4 and .entries == 1'

  publish_list --delta --clock-was-ahead | jq -e '.number == 5 and .base == 4'
  [[ $(sqlite3 ca/ledger.db "select entry ->> 'lists' from log where entry ->> 'event' = 'crl.disowned'") == 2 ]]
  ca ledger verify
}

@test "a clock that went back disowns no sound list, and back-dates none" {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=DEV-1 -out one.csr
  days_later 400 fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request one.csr --out one.pem
  days_later 400 fleetroot-ca cert revoke --home ca --device-id DEV-1 --reason keyCompromise
  refused 78 'a certificate was issued at' days_later 100 fleetroot-ca crl publish --home ca
  days_later 400 fleetroot-ca crl publish --home ca
  refused 78 'a certificate was issued at' days_later 100 fleetroot-ca crl publish --home ca --clock-was-ahead
  [[ $stderr != *--clock-was-ahead* ]]
  [[ $(sqlite3 ca/ledger.db "select number, state from crls") == '1|published' ]]
}

@test "a list that is refused has disowned none" {
  days_later 400 fleetroot-ca crl publish --home ca
  refused 78 'no complete revocation list' publish_list --delta --clock-was-ahead
  [[ $(sqlite3 ca/ledger.db "select state from crls") == published ]]
  [[ $(sqlite3 ca/ledger.db "select count(*) from log where entry ->> 'event' = 'crl.disowned'") == 0 ]]
  publish_list --clock-was-ahead | jq -e '.number == 2'
}

# issue_later DAYS DEVICE-ID: by hand, by a clock that is so far ahead
issue_later() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$2.key" -subj "/CN=$2" -out "$2.csr"
  days_later "$1" fleetroot-ca cert issue --home ca --order PO-1 --device-id "$2" --request "$2.csr" --out "$2.pem"
}

@test "certificates that a clock which was ahead has dated: taken back, and everything goes on" {
  issue_later 3000 DEV-2
  refused 78 'a certificate was issued at' provision dev-1 DEV-1
  [[ $stderr == *'fleetroot-ca cert disown'* ]]
  refused 78 'is from' ca cert revoke --device-id DEV-2 --reason superseded
  [[ $stderr == *'fleetroot-ca cert disown'* ]]
  refused 78 'a certificate was issued at' ca crl publish
  [[ $stderr == *'fleetroot-ca cert disown'* ]]
  remember dev-1
  refused 78 'and --today 2020-01-01' ca cert disown --today 2020-01-01
  today=$(date --utc +%F)
  [[ $(ca cert disown --today "$today" --dry-run) == 'dry run, nothing has changed: '*': 1 revoked'* ]]
  nothing_changed
  # whoever's clock is behind now
  refused 78 "this CA's own certificate is from" faketime '2020-01-01 12:00' fleetroot-ca cert disown --home ca \
    --today 2020-01-01

  [[ $(ca cert disown --today "$today") == *': 1 revoked (devices 1, stations 0), reservations given up: 0' ]]
  [[ $(ca cert disown --today "$today") == *': 0 revoked (devices 0, stations 0), reservations given up: 0' ]]
  provision dev-1 DEV-1
  refused 65 'revoked' provision dev-2 DEV-2
  ca rework authorize --device-id DEV-2
  provision dev-2 DEV-2
  fleetroot-ca crl publish --home ca --json | jq -e '.entries == 1'
  openssl crl -in ca/crl.pem -noout -text | grep -iq "$(openssl x509 -in DEV-2.pem -noout -serial | cut -d = -f 2)"
  ca order show --id PO-1 --json | jq -e '.used == 2 and .issued == 2 and .missing == []'
  ca ledger verify
}

# issue_by_hand DEVICE-ID
issue_by_hand() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "/CN=$1" -out "$1.csr"
  ca cert issue --order PO-1 --device-id "$1" --request "$1.csr" --out "$1.pem"
}

@test "a ledger from a back-up: no list number comes twice, and nothing leaves the list that it has forgotten" {
  issue_by_hand DEV-1
  publish_list
  sqlite3 ca/ledger.db ".backup 'ledger-backup.db'"
  issue_by_hand DEV-2
  for id in DEV-1 DEV-2; do ca cert revoke --device-id "$id" --reason keyCompromise; done
  publish_list
  publish_list | jq -e '.number == 3 and .entries == 2'
  fleetroot-gateway init --home gw --name gw.example.test --environment production
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  import() { fleetroot-gateway crl import --home gw --environment production --ca-certificate ca/issuing-ca.pem ca/crl.der; }
  import
  rm ca/ledger.db*
  cp ledger-backup.db ca/ledger.db
  cp ca/crl.der before

  refused 78 "list 3 names the certificate $(live_serials DEV-1), and this ledger has it as issued" publish_list
  [[ $stderr == *"cert revoke --serial $(live_serials DEV-1) --reason keyCompromise"* ]]
  cmp before ca/crl.der
  ca cert revoke --device-id DEV-1 --reason keyCompromise
  refused 78 'list 3, which was not published from this ledger' publish_list --delta

  publish_list | jq -e '.number == 4 and .entries == 2'
  import
  run ! openssl_verifies DEV-2.pem
  # and from there on it goes as ever
  publish_list --delta | jq -e '.number == 5 and .base == 4 and .entries == 0'
  publish_list | jq -e '.number == 6 and .entries == 2'
  ca ledger verify
}

@test "another CA's list under a list's name is none, and a damaged one is not passed over" {
  publish_list
  mkdir other
  (cd other && make_ca && fleetroot-ca crl publish --home ca && fleetroot-ca crl publish --home ca)
  cp other/ca/crl.der ca/crl.der
  publish_list | jq -e '.number == 2'
  for damaged in "$(head -c 100 ca/crl.der | base64)" "$(base64 ca/issuing-ca.pem)"; do
    base64 -d <<<"$damaged" >ca/crl.der
    refused 78 'ca/crl.der is no sound revocation list of this CA' ca crl publish
  done
  rm ca/crl.der
  publish_list | jq -e '.number == 3'
}

@test "a manifest of an order, signed, judged by OpenSSL, read with jq" {
  provision dev-1 DEV-1
  ca rework authorize --device-id DEV-1
  provision dev-2 DEV-1
  fleetroot-ca ledger export --home ca --order PO-1 --out PO-1.manifest

  openssl cms -verify -inform DER -in PO-1.manifest -CAfile ca/fleet-root.pem -purpose any -out manifest.json
  jq -e '.format == "fleetroot-manifest/1" and .order == "PO-1" and (.devices | length) == 2' manifest.json
  [[ $(jq -r '.devices[] | select(.status == "issued").serial' manifest.json) == "$(live_serials DEV-1)" ]]
  # Both may be of the same second, in any order.
  jq -e '(.devices | map(select(.status == "issued"))[0]) as $new | (.devices | map(select(.status != "issued"))[0]) as $old |
    $old.serial == $new.supersedes and $old.superseded_by == $new.serial' manifest.json
  ca cert show --device-id DEV-1 --pem >one.pem
  jq -e --arg sha "$(openssl x509 -in one.pem -outform DER | sha256sum | cut -d' ' -f1)" \
    --arg key "$(openssl x509 -in one.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)" \
    '.devices[] | select(.status == "issued") | .certificate_sha256 == $sha and .public_key_sha256 == $key and .station == "st-01"' manifest.json
  # a changed one is not the CA's
  sed 's/DEV-1/DEV-9/' PO-1.manifest >changed
  run ! openssl cms -verify -inform DER -in changed -CAfile ca/fleet-root.pem -purpose any -out /dev/null

  ca ledger export --order PO-1 --format json | jq -e '.devices | length == 2'
  [[ $(ca ledger export --order PO-1 --format csv | tr -d '\r' | cut -d, -f1 | xargs) == "device_id DEV-1 DEV-1" ]]
  refused 65 'PO-9' ca ledger export --order PO-9
  refused 64 'xml' ca ledger export --order PO-1 --format xml
}
