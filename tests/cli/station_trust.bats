#!/usr/bin/env bats
# Stations: bound to orders, renewed before they end, revoked at once.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1 DEV-2
  make_token dev-1
}

serial_of() {
  openssl x509 -in "$1" -noout -serial | cut -d= -f2 | tr A-F a-f
}

@test "a station bound to an order works on no other" {
  make_order PO-2 DEV-2
  remember dev-1
  fleetroot-ca station bind --home ca --name st-01 --order PO-2
  refused 77 'st-01 may not work on order PO-1' provision dev-1 DEV-1
  nothing_changed
  [[ $(error_code provision dev-1 DEV-1) == not_authorised ]]
  fleetroot-ca station list --home ca --json | jq -e '.orders == ["PO-2"]'

  fleetroot-ca station bind --home ca --name st-01 --any
  provision dev-1 DEV-1
  refused 65 'PO-9' fleetroot-ca station bind --home ca --name st-01 --order PO-9
  refused 64 'no order' fleetroot-ca station bind --home ca --name st-01
  refused 65 'st-09' fleetroot-ca station bind --home ca --name st-09 --any
}

@test "an order that is said twice is one" {
  run -0 fleetroot-ca station bind --home ca --name st-01 --order PO-1 --order PO-1
  [[ $output == "station st-01 may work on PO-1 and no other" ]]
  fleetroot-station init --home st2 --name st-02
  fleetroot-ca station enroll --home ca --name st-02 --request st2/station.csr --out st-02.pem --order PO-1 --order PO-1
  fleetroot-ca station list --home ca --json | jq -es 'all(.orders == ["PO-1"])'
  fleetroot-ca ledger verify --home ca
}

@test "a station is bound as it is enrolled" {
  fleetroot-station init --home st2 --name st-02
  fleetroot-ca station enroll --home ca --name st-02 --request st2/station.csr --out st-02.pem --order PO-1
  fleetroot-ca station list --home ca --json | jq -es 'any(.station == "st-02" and .orders == ["PO-1"])'
}

@test "no station is called what issuing by hand is called" {
  fleetroot-station init --home st2 --name operator

  refused 64 'called operator' fleetroot-ca station enroll --home ca --name operator --request st2/station.csr --out op.pem

  [[ ! -e op.pem ]]
}

@test "a station whose name is asked for with another key keeps its orders" {
  orders() { fleetroot-ca station list --home ca --json | jq -c '[.station, .orders]'; }
  before=$(orders)
  fleetroot-station init --home copy --name st-01

  refused 65 'st-01 has a certificate for another key' fleetroot-ca station enroll --home ca --name st-01 \
    --request copy/station.csr --out copy.pem --order PO-1

  [[ $(orders) == "$before" && $before == '["st-01",[]]' && ! -e copy.pem ]]
}

@test "a certificate is renewed in the second half of its life, and not before" {
  first=$(serial_of st/station.pem)
  run -0 fleetroot-station renew --home st
  [[ $output == *"nothing to renew"* && $(serial_of st/station.pem) == "$first" ]]

  run -0 days_later 730 fleetroot-station renew --home st
  [[ $output == renewed* ]]
  second=$(serial_of st/station.pem)
  [[ $second != "$first" ]]
  openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem -attime "$(date -d '+4 years' +%s)" st/station.pem
  [[ $(fleetroot-ca station list --home ca --json | jq -r '.state' | xargs) == "revoked enrolled" ]]

  # the station that lost the answer asks again, with the old certificate
  cp st-01.pem st/station.pem
  days_later 730 fleetroot-station renew --home st
  [[ $(serial_of st/station.pem) == "$second" ]]
  on_token dev-1 days_later 730 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"
}

# by_media COMMAND…: on the token, for DEV-1, by the queue
by_media() {
  on_token dev-1 "$@" fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --ca media:queue \
    --token "$(token_uri dev-1)"
}

@test "a station is renewed while its bundle is on its way, and the bundle is answered all the same" {
  by_media
  fleetroot-station media export --home st --queue queue --out lost
  days_later 700 fleetroot-station renew --home st
  [[ $(serial_of st/station.pem) != "$(serial_of st-01.pem)" ]]

  days_later 700 fleetroot-station media export --home st --queue queue --out stick
  cmp lost/st-01.000001.request stick/st-01.000001.request
  days_later 700 fleetroot-ca media process --home ca --accept-expired stick
  days_later 700 fleetroot-station media import --home st --queue queue stick
  run -0 by_media days_later 700
  [[ $output == *"PASS DEV-1"* ]]
}

@test "a station that no network reaches is told, and renewed by hand, also when its certificate has ended" {
  enroll_with() {
    fleetroot-station enroll --home st --certificate "$1" --ca-certificate ca/issuing-ca.pem \
      --fleet-root ca/fleet-root.pem --ca media:queue
  }
  fleetroot-ca station renew --home ca --name st-01 --out same.pem
  cmp same.pem st-01.pem
  refused 65 'no enrolled station st-09' fleetroot-ca station renew --home ca --name st-09 --out other.pem
  refused 65 "the station's certificate expired at" days_later 1200 fleetroot-station config check --home st
  [[ $stderr == *'fleetroot-ca station renew'*'enroll'* ]]
  refused 65 "the station's certificate expired at" days_later 1200 enroll_with st-01.pem

  run -0 --separate-stderr by_media days_later 900
  [[ $stderr == *"certificate ends at "*", and is not renewed by media"* ]]
  days_later 1200 fleetroot-ca station renew --home ca --name st-01 --out next.pem
  days_later 1200 enroll_with next.pem
  run -0 --separate-stderr by_media days_later 1200
  [[ $stderr != *"ends at"* && $(fleetroot-ca station list --home ca --json | jq -r .state | xargs) == 'revoked enrolled' ]]
  days_later 1200 fleetroot-station media export --home st --queue queue --out stick
  days_later 1200 fleetroot-ca media process --home ca stick
}

@test "a station whose certificate has ended is told how it is renewed, shown as expired, and not enrolled with it again" {
  fleetroot-ca ledger verify --home ca >checkpoint
  again() {
    days_later 1200 fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out again.pem --order PO-1
  }
  refused 77 'st-01 ended at ' again
  [[ $stderr == *"hint: "*"fleetroot-ca station renew"* && ! -e again.pem ]]
  refused 77 'st-01 ended at ' days_later 1200 provision dev-1 DEV-1
  [[ $stderr == *"hint: "*"fleetroot-ca station renew"* ]]
  fleetroot-ca ledger verify --home ca | diff checkpoint -

  [[ $(fleetroot-ca station list --home ca) == *" enrolled "* ]]
  fleetroot-ca station list --home ca --json | jq -e '.state == "enrolled" and .expired == false'
  [[ $(days_later 1200 fleetroot-ca station list --home ca) == *" expired "* ]]
  days_later 1200 fleetroot-ca station list --home ca --json | jq -e '.state == "enrolled" and .expired == true'
  days_later 1200 fleetroot-ca station renew --home ca --name st-01 --out next.pem
  days_later 1200 fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out again.pem
  cmp next.pem again.pem
}

@test "a CA whose clock is behind its station's certificate says so, and the same command goes on once it is right" {
  refused 78 'certificate of station st-01 begins at' provision dev-1 DEV-1 \
    --ca 'exec:env FAKETIME=-2d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 fleetroot-ca respond --home ca'
  [[ $stderr == *': hint: '*"set the CA's clock right"* ]]
  provision dev-1 DEV-1
}

@test "a revoked station is not renewed, and stands on the list" {
  fleetroot-ca station revoke --home ca --name st-01 --reason keyCompromise
  refused 77 'revoked' days_later 730 fleetroot-station renew --home st
  fleetroot-ca crl publish --home ca
  run ! openssl verify -crl_check -CRLfile ca/crl.pem -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem st-01.pem
  [[ $output == *"certificate revoked"* ]]
  refused 77 'revoked' provision dev-1 DEV-1
}

@test "a station is revoked for ever: a dry run changes nothing, and said twice it is done once" {
  revoke() { fleetroot-ca station revoke --home ca --name "$@"; }

  run -0 revoke st-01 --reason superseded --dry-run
  [[ $output == "dry run, nothing has changed: station st-01 is revoked"* ]]
  refused 64 'nothing is revoked here for the reason certificateHold' revoke st-01 --reason certificateHold
  refused 65 'no certificate has been issued for station st-09' revoke st-09
  provision dev-1 DEV-1

  revoke st-01 --reason superseded
  log=$(fleetroot-ca ledger verify --home ca)
  run -0 revoke st-01 --reason keyCompromise
  [[ $output == "station st-01 was revoked at "*" (superseded)" ]]
  [[ $(fleetroot-ca ledger verify --home ca) == "$log" ]]
}

@test "a station is renewed by the way, when two thirds of its life are over" {
  first=$(serial_of st/station.pem)
  make_token dev-2
  on_token dev-1 days_later 650 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"
  [[ $(serial_of st/station.pem) == "$first" ]]
  # one that cannot be renewed works on while it may
  run -0 --separate-stderr on_token dev-1 days_later 900 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)" --ca exec:/bin/false
  [[ $stderr == *"is not renewed yet: the CA (/bin/false) ended"* && $(serial_of st/station.pem) == "$first" ]]
  run -0 --separate-stderr on_token dev-2 days_later 900 fleetroot-station provision --home st --order PO-1 --device-id DEV-2 \
    --token "$(token_uri dev-2)"
  [[ $stderr == *"certificate is renewed"* && $(serial_of st/station.pem) != "$first" ]]
  [[ $(fleetroot-ca cert list --home ca --json | jq -rs 'length') == 2 ]]
}

@test "a station whose PIN is in the environment is renewed by the way, with the PIN read once" {
  sed -i -E "s|pin-source=[^\"&]*|pin-source=env:STPIN|; s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" st/station.toml
  late() { # PIN
    STPIN=$1 WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls on_token dev-1 days_later 900 fleetroot-station provision \
      --home st --order PO-1 --device-id DEV-1 --token "$(token_uri dev-1)"
  }
  refused 77 'the PIN for the token .* is wrong' late wrong-pin
  (($(grep -c C_Login calls) == 1))
  run -0 --separate-stderr late "$(<st/station.pin)"
  [[ $stderr == *"certificate is renewed"* && $output == *"PASS DEV-1"* ]]
  (($(grep -c C_Login calls) == 2))
}

@test "of several processes one renews the station, and the others work on" {
  first=$(serial_of st/station.pem)
  make_token dev-2
  # a CA that notes each time that it is asked for
  printf '#!/bin/sh\necho >>asked\nexec fleetroot-ca respond --home ca\n' >noting-ca
  chmod +x noting-ca
  provision_late() {
    on_token "$1" days_later 900 fleetroot-station provision --home st --order PO-1 --device-id "$2" \
      --token "$(token_uri "$1")" --ca exec:./noting-ca
  }
  exec {turn}>st/locks/renewal
  flock "$turn" # another process is at it
  run -0 --separate-stderr provision_late dev-1 DEV-1
  [[ $stderr != *renewed* && $(serial_of st/station.pem) == "$first" && $(wc -l <asked) == 1 ]]
  exec {turn}>&-
  run -0 --separate-stderr provision_late dev-2 DEV-2
  [[ $stderr == *"certificate is renewed"* && $(serial_of st/station.pem) != "$first" && $(wc -l <asked) == 3 ]]
}

@test "what is pinned is the root, and first the CA that answers: swapped or mixed up, a station is not enrolled" {
  enroll_pinning() { # CA-CERTIFICATE FLEET-ROOT CA
    fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate "$1" --fleet-root "$2" --ca "$3"
  }
  cat ca/fleet-root.pem ca/issuing-ca.pem >root-first.pem
  cat ca/issuing-ca.pem ca/fleet-root.pem >root-last.pem
  exec_ca='exec:fleetroot-ca respond --home ca'
  cp -r st before

  for issuing in fleet-root issuing-ca; do
    refused 65 'CN=Test Factory Issuing CA is pinned as a Fleet Root, and is none' \
      enroll_pinning ca/$issuing.pem ca/issuing-ca.pem "$exec_ca"
  done
  refused 65 'first .* is CN=Test Factory Fleet Root, a Fleet Root' enroll_pinning root-first.pem ca/fleet-root.pem "$exec_ca"
  [[ $stderr == *': hint: put '*'first'* ]]
  diff -r before st
  # as a home of before may have it
  cp ca/issuing-ca.pem st/fleet-root.pem
  refused 65 'is pinned as a Fleet Root, and is none' fleetroot-station config check --home st
  cp ca/fleet-root.pem st/fleet-root.pem
  cp root-first.pem st/issuing-ca.pem
  refused 65 'first .* is CN=Test Factory Fleet Root' fleetroot-station config check --home st

  # EST knows no CA but by TLS, and its lists have any order
  enroll_pinning root-first.pem ca/fleet-root.pem est+https://127.0.0.1:1
  enroll_pinning root-last.pem ca/fleet-root.pem "$exec_ca"
  fleetroot-station config check --home st
  run -0 provision dev-1 DEV-1
}
