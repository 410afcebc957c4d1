#!/usr/bin/env bats
# No network at all: requests and answers travel on a stick (docs/formats.md, "Media bundles").
load factory
load foreign_station
load media

@test "out, answered, back, written, and the receipt with the next" {
  make_factory D-1 D-2
  make_token D-1 D-2

  run -0 queue D-1 D-1 --json
  [[ $(tail -n 1 <<<"$output" | jq -r .result) == queued ]]
  run -0 queue D-2 D-2
  [[ $output == "WAIT D-2 "* ]]
  [[ $(find queue -type f | sort | xargs) == "queue/PO-1/D-1.p10cr queue/PO-1/D-2.p10cr" ]]
  [[ $(certificates_in_ledger) == 0 ]]

  run -0 export_to stick
  [[ $output == *"bundle 1, order PO-1: 2 requests, 0 receipts"* ]]
  run -0 process stick
  [[ $output == *"2 certificates, 0 refused"* ]]
  [[ $(confirmation D-1) == none ]]
  run -0 import_from stick
  [[ $output == *"2 certificates, 0 refused"* ]]
  [[ -z $(find queue -type f) ]]

  for device in D-1 D-2; do
    run -0 queue "$device" "$device" --json
    [[ $(tail -n 1 <<<"$output" | jq -r .result) == pass ]]
    on_token "$device" fleetroot-station verify --home st --device-id "$device" --token "$(token_uri "$device")"
  done
  run -0 queue D-1 D-1 --json
  [[ $(tail -n 1 <<<"$output" | jq -r .result) == already ]]

  run -0 export_to stick
  [[ $output == *"bundle 2, order PO-1: 0 requests, 2 receipts"* ]]
  run -0 process stick
  [[ $output == *"the same answer again"* && $output == *"0 certificates, 0 refused, 2 receipts"* ]]
  [[ $(confirmation D-1) == accepted && $(confirmation D-2) == accepted ]]
  import_from stick
  run -0 export_to stick
  [[ $output == "nothing waits to be exported" ]]
  fleetroot-ca ledger verify --home ca
}

@test "a request that lies in another queue is not exported, and not kept quiet about" {
  make_factory D-1 D-2
  make_token D-1 D-2
  queue D-1 D-1
  mkdir other
  export_other() {
    fleetroot-station media export --home st --queue other --out stick "$@"
  }
  run -0 export_other
  [[ $output == "other: 1 requests wait that do not lie here; "* && ${#lines[@]} == 1 ]]
  [[ $(export_other --json | jq -c '[.event, .queue, .elsewhere]') == '["queue","other",1]' ]]
  provision D-2 D-2 --ca media:other
  run -0 export_other
  [[ $output == *"1 requests, 0 receipts"*"other: 1 requests wait"* ]]
  run -0 export_to stick
  [[ $output == *"bundle 2, order PO-1: 1 requests"* && $output != *"do not lie here"* ]]
}

@test "the answer to the request of a token that was replaced leaves the new token's request in the queue" {
  one_device
  process stick
  make_token D-1-new
  queue D-1-new D-1
  sha256sum queue/PO-1/D-1.p10cr >newer
  run -0 import_from stick
  sha256sum --check newer
  run -0 export_to stick
  [[ $output == *"bundle 2, order PO-1: 1 requests"* ]]
}

@test "an answer is known by what it says, and not by the name that a copy got" {
  one_device
  run --separate-stderr -74 import_from stick
  [[ $stderr == *'stick holds no answer to st-01.000001.request'*'hint: name the medium that came back from the CA'* ]]

  process stick
  mkdir copy
  mv stick/st-01.000001.response 'copy/st-01.000001 (1).response'
  echo junk >'copy/no answer.response'
  make_station st-2 st-02
  make_token D-2
  on_token D-2 fleetroot-station provision --home st-2 --order PO-1 --device-id D-2 --token "$(token_uri D-2)" \
    --ca media:queue-2
  fleetroot-station media export --home st-2 --queue queue-2 --out copy
  process copy
  cp 'copy/st-01.000001 (1).response' copy/z.response

  run -0 import_from copy
  [[ $output == 'copy/st-01.000001 (1).response: the answer to bundle 1, order PO-1: 1 certificates, 0 refused' ]]
  [[ $(queue D-1 D-1 --json | tail -n 1 | jq -r .result) == pass ]]
  run -0 import_from copy
  [[ $output == 'every bundle of this station has its answer' ]]
}

@test "before the answer: it still waits, and nothing changes" {
  one_device
  before=$(objects_in D-1; sha256sum queue/PO-1/*)

  run -0 queue D-1 D-1 --json

  [[ $(tail -n 1 <<<"$output" | jq -r .result) == queued ]]
  [[ $before == "$(objects_in D-1; sha256sum queue/PO-1/*)" ]]
}

@test "a lost stick: the same bytes again, and the same answer" {
  one_device
  process stick
  cp -r stick first
  rm -r stick

  export_to stick
  process stick

  diff -r first stick
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq .used) == 1 ]]
}

@test "openssl verifies a bundle and its answer, and jq reads them" {
  one_device
  process stick

  content stick/st-01.000001.request >request.json
  jq -e '.format == "fleetroot-request-bundle/1" and .station == "st-01" and .sequence == 1 and .order == "PO-1"
    and .previous == "0" * 64 and (.requests | length) == 1 and .requests[0].device_id == "D-1"' request.json
  [[ $(jq -r .ca request.json) == "$(openssl x509 -in ca/issuing-ca.pem -outform DER | sha256sum | cut -d ' ' -f 1)" ]]
  jq -r '.requests[0].pkimessage' request.json | base64 -d >message.der
  [[ $(jq -r '.requests[0].sha256' request.json) == "$(sha256sum <message.der | cut -d ' ' -f 1)" ]]
  content stick/st-01.000001.response >response.json
  [[ $(jq -r .request_bundle response.json) == "$(sha256sum <request.json | cut -d ' ' -f 1)" ]]
  jq -r '.answers[0].certificate' response.json | base64 -d | openssl x509 -inform DER -out device.pem
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem device.pem
  run -0 openssl x509 -in device.pem -noout -subject
  [[ $output == *"CN = D-1" ]]
  [[ $(jq -r '.chain[0]' response.json | base64 -d | sha256sum) == \
    "$(openssl x509 -in ca/issuing-ca.pem -outform DER | sha256sum)" ]]
  fleetroot-ca ledger verify --home ca --checkpoint "$(jq -r .checkpoint.digest response.json)"
}

@test "a bundle made with openssl and jq alone is accepted" {
  make_factory D-1 D-2
  make_foreign_station
  openssl ecparam -name prime256v1 -genkey -noout -out device.key
  request_of D-1 device.key
  mkdir stick
  bundle_of D-1 | sign_bundle stick/mine.request

  run -0 process stick

  [[ $output == *"1 certificates, 0 refused"* ]]
  content stick/mine.response | jq -r '.answers[0].certificate' | base64 -d >device.der
  [[ $(openssl x509 -inform DER -in device.der -noout -pubkey) == "$(openssl pkey -in device.key -pubout)" ]]
}

@test "what is refused of one device, the station hears and says; the device leaves as it came" {
  make_factory D-1
  make_token wrong
  queue wrong D-9
  export_to stick
  run -0 process stick
  [[ $output == *"0 certificates, 1 refused"* ]]
  import_from stick

  refused 65 'D-9 is not on order PO-1' queue wrong D-9

  [[ $(objects_on wrong) == 0 ]]
  provision wrong D-1
}

@test "a device whose request went to the CA for one order asks for no other, and keeps its key" {
  one_device
  make_order PO-2 D-7
  key=$(objects_on D-1)
  on_order() {
    on_token D-1 fleetroot-station provision --home st --order "$1" --device-id D-1 --token "$(token_uri D-1)" \
      --ca media:queue
  }

  refused 64 'D-1 went to the CA for order PO-1' on_order PO-2
  [[ -z $(find queue -path '*PO-2*' -type f) ]]
  process stick
  import_from stick
  refused 64 'D-1 went to the CA for order PO-1' on_order PO-2

  [[ $(objects_on D-1) == "$key" ]]
  run -0 on_order PO-1
  [[ $output == *"PASS D-1"* ]]
}

@test "a mix of ways in one order stays exact; a station that was offline finishes by media" {
  make_factory D-1 D-2 D-3
  make_token D-1 D-2 D-3
  refused 69 . provision D-1 D-1 --ca 'exec:false'
  queue D-1 D-1
  queue D-2 D-2
  provision D-3 D-3
  export_to stick
  provision D-2 D-2 # finished by another way while its request is carried
  process stick
  import_from stick

  for device in D-1 D-2 D-3; do queue "$device" "$device"; done

  export_to stick
  process stick
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued, .confirmed]') == "[3,3,3]" ]]
}

@test "what a medium brings is not lost because another way failed meanwhile" {
  one_device
  process stick
  refused 69 'ended' provision D-1 D-1 --ca exec:/bin/false
  import_from stick
  refused 69 'ended' provision D-1 D-1 --ca exec:/bin/false

  run -0 queue D-1 D-1
  [[ $output == *"PASS D-1"* && $(objects_on D-1) == 3 ]]
}

@test "a wrong order by another way costs a device neither its key nor the answer that is on its way" {
  make_factory D-1
  make_order PO-L L-1
  make_token D-1
  queue D-1 D-1
  before=$(objects_in D-1; sha256sum queue/PO-1/*)
  wrong_order() { # ORDER
    refused 65 "$1.*; its key stays on the token, because another request for it may be on its way$" \
      on_token D-1 fleetroot-station provision --home st --order "$1" --device-id D-1 --token "$(token_uri D-1)"
    [[ $stderr == *'hint: once the answer is imported, run the same command with --ca media:DIR for order PO-1: that'* ]]
  }

  wrong_order PO-L
  [[ $before == "$(objects_in D-1; sha256sum queue/PO-1/*)" ]]
  export_to stick
  wrong_order PO-TYPO
  run -65 on_token D-1 fleetroot-station line --home st --order PO-L --bay "1=$(token_uri D-1)" <<<D-1
  process stick
  import_from stick

  run -0 queue D-1 D-1
  [[ $output == *"PASS D-1"* && $(objects_on D-1) == 3 && $(certificates_in_ledger) == 1 ]]
}

@test "a wrong scan that waits on a medium is free once the medium has brought the refusal" {
  make_factory D-1
  make_token wrong
  queue wrong D-9
  refused 65 'D-9 is not on order PO-1; its key stays' provision wrong D-9
  export_to stick
  process stick
  import_from stick

  refused 65 'D-9 is not on order PO-1$' queue wrong D-9

  [[ $(objects_on wrong) == 0 ]]
  provision wrong D-1
}

@test "a request that nobody waits for any more does not stay in the queue" {
  make_factory D-1 D-2
  make_order PO-2 D-2
  make_token D-1 D-2
  queue D-1 D-1
  on_token D-2 fleetroot-station provision --home st --order PO-2 --device-id D-2 --token "$(token_uri D-2)" \
    --ca media:queue
  queue D-2 D-2 # for another order than it was asked for first
  [[ $(find queue -type f | sort | xargs) == 'queue/PO-1/D-1.p10cr queue/PO-1/D-2.p10cr' ]]
  provision D-1 D-1 # by another way, before it was carried

  run -0 export_to stick

  [[ $output == *"bundle 1, order PO-1: 1 requests"* && $(find queue -type f) == queue/PO-1/D-2.p10cr ]]
  provision D-2 D-2 # and one that was carried
  process stick
  run -0 import_from stick
  [[ $output == *"1 certificates, 0 refused"* && -z $(find queue -type f) ]]
  for device in D-1 D-2; do
    run -0 queue "$device" "$device"
    [[ $output == *"already provisioned"* ]]
  done
  [[ $(export_to stick) == 'nothing waits to be exported' ]]
}

@test "two orders are two bundles" {
  two_orders

  run -0 export_to stick

  [[ ${#lines[@]} == 2 && ${lines[0]} == *"order PO-1: 1 requests"* && ${lines[1]} == *"order PO-2: 1 requests"* ]]
  run -0 process stick
  [[ $(grep -c "1 certificates" <<<"$output") == 2 ]]
}

# queue_of NUMBER: so many requests and receipts on PO-1, as the station keeps them. Nobody reads them before the CA.
queue_of() {
  mkdir -p queue/PO-1
  export_to stick # nothing yet; and the journal is made
  python3 - "$1" <<'EOF'
import hashlib, sqlite3, sys
journal = sqlite3.connect('st/journal.db')
for i in range(int(sys.argv[1])):
    message = b'request %d' % i
    open(f'queue/PO-1/D-{i}.p10cr', 'wb').write(message)
    journal.execute("INSERT INTO media_requests (device_id, order_id, digest, public_key, queued_at) "
                    "VALUES (?, 'PO-1', ?, '', '')", (f'D-{i}', hashlib.sha256(message).hexdigest()))
    journal.execute("INSERT INTO media_receipts (serial, device_id, order_id, accepted) VALUES (?, ?, 'PO-1', 1)",
                    (f'01{i:034x}', f'D-{i}'))
journal.commit()
EOF
}

@test "10,001 requests and receipts leave in bundles of 10,000 at most, and none is lost on the way" {
  make_factory D-1
  queue_of 10001

  fleetroot-station media export --home st --queue queue --out stick --json |
    jq -s -e '[map(.requests), map(.receipts) | max == 10000 and add == 10001] | all'
  for what in requests receipts; do
    for bundle in stick/*.request; do content "$bundle" | jq -r ".${what}[].device_id"; done | sort >"$what"
    cmp "$what" <(printf 'D-%d\n' {0..10000} | sort)
  done

  # what is in them is junk, which is said of each
  fleetroot-ca media process --home ca stick --json |
    jq -s -e '[map(.refused), map(.receipts), map(.receipts_taken) | add] == [10001, 10001, 0]'
  run -0 process stick
  [[ $output == *" 1 refused, 10000 receipts, of which 0 were taken (answered before"* ]]
  import_from stick
  [[ $(sqlite3 st/journal.db "SELECT count(*) FROM media_requests WHERE refusal <> ''") == 10001 ]]
  [[ -z $(find queue -type f) && $(export_to stick) == "nothing waits to be exported" ]]
}

@test "inspect shows, and changes nothing" {
  one_device
  remember

  run -0 fleetroot-ca media inspect --home ca stick --json
  [[ $(jq -c '[.event, .standing, .station, .sequence, .requests[0].device_id]' <<<"$output") == \
    '["request_bundle","to be answered","st-01",1,"D-1"]' ]]
  run -0 fleetroot-ca media inspect --home ca stick
  [[ $output == *"request  D-1"* ]]
  nothing_changed

  process stick
  run -0 fleetroot-ca media inspect --home ca stick --json
  [[ $output == *'"standing":"answered at '* && $output == *'"event":"response_bundle"'* ]]
}

@test "a station whose bundles one CA has does not change to another" {
  one_device
  fleetroot-ca init --home other --name "Other Factory"
  fleetroot-ca station enroll --home other --name st-01 --request st/station.csr --out other.pem
  enroll_at() {
    fleetroot-station enroll --home st --certificate "$1" --ca-certificate "$2/issuing-ca.pem" \
      --fleet-root "$2/fleet-root.pem" --ca media:queue
  }

  refused 78 'exchanges numbered bundles with CN ?= ?Test Factory Issuing CA' enroll_at other.pem other

  enroll_at st-01.pem ca
  run -0 export_to stick
  [[ $output == *"bundle 1, order PO-1: 1 requests"* ]]
}

@test "a CA with a new certificate for its key goes on counting" {
  enroll_below() { # ROOT
    fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate "$1.issuing.pem" \
      --fleet-root "$1/fleet-root.pem" --ca 'exec:fleetroot-ca respond --home ca'
  }
  issue_below() { # ROOT
    fleetroot-ca root init --home "$1" --name "$1"
    fleetroot-ca root issue --home "$1" --request ca/issuing-ca.csr --out "$1.issuing.pem"
    fleetroot-ca root accept --home ca --fleet-root "$1/fleet-root.pem" --issuing-certificate "$1.issuing.pem"
  }
  make_ca --external-root
  issue_below first
  make_order PO-1 D-1 D-2
  fleetroot-station init --home st --name st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  enroll_below first
  make_token D-1 D-2
  queue D-1 D-1
  export_to stick
  process stick

  issue_below second
  refused 75 'a bundle of this station is on its way' enroll_below second
  import_from stick
  enroll_below second

  queue D-2 D-2
  export_to another
  run -0 process another
  [[ $output == *"bundle 2 of st-01, order PO-1: 1 certificates"* ]]
}

@test "a station that was enrolled anew under its name counts from the beginning" {
  one_device
  process stick
  fleetroot-ca station revoke --home ca --name st-01
  rm -r st stick queue
  make_station
  make_token D-2
  queue D-2 D-2
  export_to stick

  run -0 process stick

  [[ $output == *"bundle 1 of st-01, order PO-1: 1 certificates"* ]]
}
