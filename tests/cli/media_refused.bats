#!/usr/bin/env bats
# What is refused of a medium, at the CA and at the station: by its name, and nothing changes.
load factory
load foreign_station
load media

@test "a request that is not its device's, or another station's, is refused alone" {
  make_factory D-1 D-2
  make_token D-1
  make_foreign_station
  openssl ecparam -name prime256v1 -genkey -noout -out device.key
  request_of D-2 device.key
  queue D-1 D-1
  cp queue/PO-1/D-1.p10cr D-1.der
  mkdir stick
  bundle_of D-2 | jq '.requests[0].device_id = "D-1"' | sign_bundle stick/1.request
  first=$(content stick/1.request | sha256sum | cut -d ' ' -f 1)
  bundle_of D-1 | jq --arg previous "$first" '.sequence = 2 | .previous = $previous' | sign_bundle stick/2.request
  remember

  run -0 process stick

  [[ $(grep -c "0 certificates, 1 refused" <<<"$output") == 2 ]]
  nothing_changed
  [[ $(content stick/1.response | jq -r '.answers[0].error.code') == bad_request ]]
  [[ $(content stick/2.response | jq -r '.answers[0].error.code') == not_authorised ]]
}

# refused_whole CODE PATTERN: what is on the stick, by that name; nothing has changed, and nothing is answered
refused_whole() {
  refused "$1" "$2" process stick
  nothing_changed
  [[ -z $(find stick -name '*.response') ]]
}

# in_place_of_a_file FILE REFUSED: what may lie there instead; REFUSED CODE PATTERN judges
in_place_of_a_file() {
  truncate -s 2G "$1"
  "$2" 74 'larger than'
  rm "$1" && ln -s ../good "$1"
  "$2" 74 'symbolic link'
  rm "$1" && mkdir "$1"
  "$2" 74 'regular file'
  rmdir "$1" && mkfifo "$1"
  "$2" 74 'regular file'
  rm "$1"
}

@test "what is no bundle is refused whole, each by its name" {
  one_device
  good=stick/st-01.000001.request
  mv $good good
  remember

  size=$(stat -c %s good)
  head -c $((size / 2)) good >$good
  refused_whole 65 'end of it is missing'
  : >$good
  refused_whole 65 'empty'
  { head -c 300 good; printf X; tail -c +302 good; } >$good
  refused_whole 65 'does not verify|not as|no signed'
  { cat good; printf x; } >$good
  refused_whole 65 'not cover'
  in_place_of_a_file $good refused_whole
  refused_whole 74 'no bundle'
  refused 74 'directory|bundle|open' process nowhere

  mv good $good
  process stick
}

@test "a gap, a fork, an expired bundle, another CA's and a stranger's: refused whole, each by its name" {
  make_factory D-1 D-2 D-3
  make_foreign_station
  openssl ecparam -name prime256v1 -genkey -noout -out device.key
  request_of D-1 device.key
  mkdir stick
  bundle_of D-1 >bundle.json
  remember
  try() { # try CODE JSON-CODE PATTERN FILTER
    jq "$4" bundle.json | sign_bundle stick/x.request
    refused_whole "$1" "$3"
    run fleetroot-ca media process --home ca stick --json
    [[ $(head -n 1 <<<"$output" | jq -r .error.code) == "$2" ]]
  }

  try 65 bundle_gap 'bundle 1 has not come' '.sequence = 2 | .previous = "1" * 64'
  try 65 bundle_expired 'was good until' '.created = "2020-01-01T00:00:00Z" | .expires = "2020-01-02T00:00:00Z"'
  try 65 bundle_foreign 'another CA' '.ca = "1" * 64'
  try 65 bundle_foreign 'in the name of station st-01' '.station = "st-01"'
  try 65 bundle_damaged 'format' '.format = "fleetroot-request-bundle/2"'
  try 65 bundle_damaged 'more' '.more = 1'
  try 65 bundle_damaged 'receipts: is missing' 'del(.receipts)'
  try 65 bundle_damaged 'sequence' '.sequence = 1.5'
  try 65 bundle_damaged 'sha256' '.requests[0].sha256 = "1" * 64'
  try 65 bundle_damaged 'two for D-1' '.requests += .requests'
  try 65 bundle_damaged 'not a time' '.expires = "tomorrow"'
  try 65 bundle_damaged 'previous' '.previous = "1" * 64'

  jq '.created = "2020-01-01T00:00:00Z" | .expires = "2020-01-02T00:00:00Z" | .requests = []' bundle.json |
    sign_bundle stick/x.request
  cp -r ca ca-before
  run -0 fleetroot-ca media process --home ca stick --accept-expired
  [[ $output == *"0 certificates, 0 refused"* ]]
  rm -r ca stick/* && mv ca-before ca

  sed 's/"sequence"/"order": "PO-2", "sequence"/' bundle.json | sign_bundle stick/x.request
  refused_whole 65 'order: is there twice'
  printf 'no JSON' | sign_bundle stick/x.request
  refused_whole 65 'not a JSON object'
  openssl req -x509 -new -key device.key -subj /CN=st-x -days 9 -out stranger.pem
  openssl cms -sign -binary -nodetach -keyid -md sha256 -signer stranger.pem -inkey device.key -outform DER \
    -in bundle.json -out stick/x.request
  refused_whole 77 'knows no station'
  fleetroot-ca station revoke --home ca --name st-x
  remember
  sign_bundle stick/x.request <bundle.json
  refused_whole 77 'st-x is revoked'
}

@test "a second bundle under the same number, or behind another one, is a fork" {
  make_factory D-1 D-2
  make_foreign_station
  openssl ecparam -name prime256v1 -genkey -noout -out device.key
  request_of D-1 device.key
  mkdir stick
  bundle_of D-1 >bundle.json
  sign_bundle stick/1.request <bundle.json
  process stick
  rm stick/1.response
  remember

  jq '.expires = .created' bundle.json | sign_bundle stick/1.request
  refused_whole 65 'bundle 1 of station st-x has been answered, and it was another one'
  rm stick/*
  jq '.sequence = 2 | .previous = "1" * 64' bundle.json | sign_bundle stick/2.request
  refused_whole 65 'does not follow'
}

@test "answers that are not for this station, or were changed, are refused, and nothing changes" {
  one_device
  process stick
  answer=stick/st-01.000001.response
  mv $answer good

  { head -c 300 good; printf X; tail -c +302 good; } >$answer
  refused 65 'does not verify|not as|no signed' import_from stick
  make_station st-2 st-02
  make_token D-2
  on_token D-2 fleetroot-station provision --home st-2 --order PO-1 --device-id D-2 --token "$(token_uri D-2)" \
    --ca media:queue-2
  fleetroot-station media export --home st-2 --queue queue-2 --out stick-2
  process stick-2
  cp stick-2/st-02.000001.response $answer
  refused 65 'is for station st-02' import_from stick
  cp stick/st-01.000001.request $answer
  refused 65 'signed it whom we do not expect' import_from stick
  [[ $(queue D-1 D-1 --json | tail -n 1 | jq -r .result) == queued ]]

  mv good $answer
  import_from stick
  [[ $(queue D-1 D-1 --json | tail -n 1 | jq -r .result) == pass ]]
}

mirror() {
  "$BATS_TEST_DIRNAME/mirror-signature" "$1" "$2"
  ! cmp --silent "$1" "$2"
}

@test "whoever carries a bundle can give it another signature: it is the same bundle all the same" {
  one_device
  cp -r stick sent
  mirror sent/st-01.000001.request stick/st-01.000001.request
  run -0 process stick
  [[ $output == *'1 certificates, 0 refused'* ]]
  run -0 process sent
  [[ $output == *'again'* ]]
  cmp stick/st-01.000001.response sent/st-01.000001.response

  mirror sent/st-01.000001.response stick/st-01.000001.response
  run -0 import_from stick
  [[ $(queue D-1 D-1 --json | tail -n 1 | jq -r .result) == pass ]]
  # and the next one follows it: the receipt
  rm -r stick
  export_to stick
  process stick
  [[ $(confirmation D-1) == accepted ]]
}

@test "a bundle that a station kept, and that its disk has changed, does not go out" {
  one_device
  bundle=st/media/000001.request
  size=$(stat -c %s $bundle)
  { head -c $((size - 1)) $bundle; printf '\0'; } >changed
  cmp --silent $bundle changed && printf '\1' | dd of=changed bs=1 seek=$((size - 1)) conv=notrunc
  mv changed $bundle
  refused 74 'is not the bundle that was sent' export_to stick-2
}

# import_refused CODE PATTERN: what is on the stick, by that name; the station is as it was
import_refused() {
  refused "$1" "$2" import_from stick
  [[ $(station_state) == "$untouched" ]]
}

@test "what is no answer is refused at the station, each by its name" {
  one_device
  process stick
  answer=stick/st-01.000001.response
  mv $answer good
  untouched=$(station_state)

  size=$(stat -c %s good)
  head -c $((size / 2)) good >$answer
  import_refused 65 'end of it is missing'
  : >$answer
  import_refused 65 'empty'
  { cat good; printf x; } >$answer
  import_refused 65 'not cover'
  for ((bit = 0; bit < 8 * size; bit += 809)); do # one of every 809 bits
    python3 -c 'import sys
answer = bytearray(open("good", "rb").read())
answer[int(sys.argv[1]) // 8] ^= 1 << int(sys.argv[1]) % 8
open(sys.argv[2], "wb").write(answer)' "$bit" "$answer"
    run import_from stick
    [[ ($status == 65 || $status == 77) && $(station_state) == "$untouched" ]]
  done
  in_place_of_a_file $answer import_refused

  mv good $answer
  import_from stick
}

# two_answers: and both bundles are answered on the stick
two_answers() {
  two_orders
  export_to stick
  process stick
}

@test "a damaged answer is refused by its file's name, and those behind it are imported all the same" {
  two_answers
  cp stick/st-01.000001.response good
  : >stick/st-01.000001.response
  cp -r st st-before
  cp -r queue queue-before

  refused 65 'stick/st-01.000001.response: it is empty' import_from stick
  [[ ${#lines[@]} == 2 && ${lines[0]} == 'stick/st-01.000001.response: refused: it is empty' ]]
  [[ ${lines[1]} == 'stick/st-01.000002.response: the answer to bundle 2, order PO-2: 1 certificates, 0 refused' ]]
  [[ $(find queue -type f) == queue/PO-1/D-1.p10cr ]]

  # only the damaged one is open still
  refused 65 'empty' import_from stick
  [[ ${#lines[@]} == 1 ]]
  # and a sound copy of it, under another name, is found beside it
  cp -r st st-refused
  cp good 'stick/st-01.000001.response (1).response'
  refused 65 'stick/st-01.000001.response: it is empty' import_from stick
  [[ ${lines[1]} == *' (1).response: the answer to bundle 1, order PO-1: 1 certificates, 0 refused' ]]
  rm -r st stick/*' (1).response' && mv st-refused st
  cp good stick/st-01.000001.response
  run -0 import_from stick
  [[ $output == *"the answer to bundle 1, order PO-1: 1 certificates, 0 refused" ]]

  rm -r st queue && mv st-before st && mv queue-before queue
  : >stick/st-01.000001.response
  run --separate-stderr -65 fleetroot-station media import --home st --queue queue stick --json
  [[ $(jq -c '[.event, .file, .result, .error.code, .certificates]' <<<"$output") == \
    '["bundle","stick/st-01.000001.response","refused","bundle_damaged",null]
["bundle","stick/st-01.000002.response","imported",null,1]' ]]
}

@test "what fails as a whole says so in JSON too" {
  one_device
  mkdir empty
  make_token D-2
  queue D-2 D-2
  alone_in_json() {
    fails_in_json "$@"
    [[ ${#lines[@]} == 1 ]]
  }

  for command in process inspect; do
    alone_in_json 74 io fleetroot-ca media $command --home ca empty
    alone_in_json 78 configuration fleetroot-ca media $command --home nowhere stick
  done
  for medium in empty nowhere; do
    alone_in_json 74 io fleetroot-station media import --home st --queue queue $medium
  done
  alone_in_json 78 configuration fleetroot-station media import --home nowhere --queue queue stick
  alone_in_json 78 configuration fleetroot-station media export --home nowhere --queue queue --out stick
  alone_in_json 64 usage fleetroot-station media export --home st --queue typo --out stick
}

@test "an export that fails at its second bundle says that the first is there" {
  two_orders
  mkdir -p stick/st-01.000002.request
  fails_in_json 74 io fleetroot-station media export --home st --queue queue --out stick
  [[ $(head -n 1 <<<"$output" | jq -c '[.file, .result]') == '["stick/st-01.000001.request","exported"]' ]]
  [[ ${#lines[@]} == 2 && -f stick/st-01.000001.request ]]
}

@test "a medium that is a file is no directory" {
  one_device
  refused 74 'cannot read the directory stick/st-01.000001.request \(Not a directory\)' \
    import_from stick/st-01.000001.request
  refused 73 'cannot create the directory stick/st-01.000001.request \([^S]' export_to stick/st-01.000001.request
}

@test "inspect shows the sound bundles beside a damaged one, which it names" {
  two_answers
  echo junk >stick/st-01.000001.request
  echo junk >stick/st-01.000001.response
  remember

  refused 65 'stick/st-01.000001.request: it is no signed document' fleetroot-ca media inspect --home ca stick
  grep --quiet '^stick/st-01.000001.request: refused: it is no signed document' <<<"$output"
  grep --quiet '^stick/st-01.000001.response: refused: it is no signed document' <<<"$output"
  grep --quiet '^stick/st-01.000002.request: bundle 2 of station st-01 for order PO-2' <<<"$output"
  grep --quiet '^stick/st-01.000002.response: the answer to bundle 2' <<<"$output"
  run --separate-stderr -65 fleetroot-ca media inspect --home ca stick --json
  [[ $(jq -c '[.event, .file, .error.code]' <<<"$output") == \
    '["bundle","stick/st-01.000001.request","bundle_damaged"]
["request_bundle","stick/st-01.000002.request",null]
["bundle","stick/st-01.000001.response","bundle_damaged"]
["response_bundle","stick/st-01.000002.response",null]' ]]
  nothing_changed
}

# What ends a line, and what a terminal obeys, must not be in what is printed.
prints_plain() {
  ! LC_ALL=C grep --quiet $'[\x01-\x09\x0b-\x1f\x7f]' "$@"
}

@test "names on a foreign stick forge no lines" {
  one_device
  forged=$'x\e[2K\rst-01.000001\nst-01.request: bundle 1 of st-01, order PO-1: 1 certificates.request'
  echo junk >"stick/$forged"
  plain='stick/x\x1b[2K\x0dst-01.000001\x0ast-01.request: bundle 1 of st-01, order PO-1: 1 certificates.request'
  cp stick/st-01.000001.request stick/ünd.request

  for what in process inspect; do
    fleetroot-ca media "$what" --home ca stick >out 2>err || [[ $? == 65 ]]
    prints_plain out err
    grep --quiet --fixed-strings "$plain: refused: it is no signed document" out
    grep --quiet --fixed-strings "error: $plain: it is no signed document" err
    grep --quiet '^stick/ünd.request: bundle 1' out
    [[ $(wc -l <err) == 2 ]]
  done

  mv stick $'st\eick'
  printf x >$'st\eick/st-01.000001.response'
  import_from $'st\eick' >out 2>err || [[ $? == 65 ]]
  prints_plain out err
  grep --quiet --fixed-strings 'st\x1bick/st-01.000001.response: refused' out
}

@test "a queue that is not there, while requests wait, is no empty one" {
  make_factory D-1 D-2
  make_token D-1 D-2
  fleetroot-station media export --home st --queue typo --out stick # nothing waits in any
  queue D-1 D-1
  before=$(station_state)

  refused 64 'there is no queue typo, and 1 requests wait' \
    fleetroot-station media export --home st --queue typo --out stick
  [[ ! -e stick && ! -e typo && $(station_state) == "$before" ]]

  export_to stick
  # what is on its way needs no queue: the same bundle again
  run -0 fleetroot-station media export --home st --queue typo --out stick
  [[ $output == *'bundle 1, order PO-1: 1 requests'* ]]
}

@test "an answer to another bundle of the same number: somebody else signs as this station" {
  make_factory D-1 D-2
  make_token D-1 D-2
  queue D-1 D-1
  cp -r st st-copy
  cp -r queue queue-copy
  on_token D-2 fleetroot-station provision --home st-copy --order PO-1 --device-id D-2 --token "$(token_uri D-2)" \
    --ca media:queue-copy
  fleetroot-station media export --home st-copy --queue queue-copy --out stick
  process stick
  mv stick stick-copy
  export_to stick
  untouched=$(station_state)
  cp stick-copy/st-01.000001.response stick
  import_refused 65 'answers another bundle than the one that this station sent as its number 1'
}

@test "a CA whose ledger is from a back-up: the hint says which bundle it takes, and the chain goes on" {
  make_factory D-1
  make_token D-1
  sqlite3 ca/ledger.db ".backup 'ledger-backup.db'"
  queue D-1 D-1
  export_to stick
  process stick
  import_from stick
  queue D-1 D-1
  rm stick/* ca/ledger.db*
  cp ledger-backup.db ca/ledger.db
  fleetroot-ca order close --home ca --id PO-1
  export_to stick # bundle 2, the receipt; the answer to bundle 1 is here, and it is not exported again
  [[ $(basename -a stick/*) == st-01.000002.request ]]
  remember D-1

  refused_whole 65 'bundle 1 has not come'
  [[ $stderr == *"media/000001.request of its home, as st-01.000001.request"* ]]

  cp st/media/000001.request stick/st-01.000001.request
  run -0 process stick
  [[ $output == *"bundle 1 of st-01, order PO-1: 0 certificates, 1 refused"* ]]
  [[ $output == *"bundle 2 of st-01, order PO-1: 0 certificates, 0 refused, 1 receipts, of which 0 were taken"* ]]
  import_from stick
  [[ $(export_to stick) == "nothing waits to be exported" ]]
}

@test "two factories, each with a station of that name, and one stick: neither takes or replaces the other's" {
  one_device
  sha256sum stick/* >sent
  mkdir elsewhere
  pushd elsewhere
  make_factory D-1
  make_token D-1
  queue D-1 D-1

  refused 65 'the bundle is for another CA' process ../stick
  refused 73 '../stick/st-01.000001.request is a bundle that this station did not send' export_to ../stick
  [[ $stderr == *'hint: name a medium that is this station'* ]]
  popd

  sha256sum --check sent
  [[ $(ls stick) == st-01.000001.request ]]
  (cd elsewhere && export_to stick && process stick)
  # what is this station's is written again, damaged or not
  : >stick/st-01.000001.request
  export_to stick
  sha256sum --check sent
}

@test "nothing goes onto a stick where one of several bundles would replace another's" {
  two_orders
  mkdir stick
  make_foreign_station
  printf x >D-1.der
  bundle_of D-1 | sign_bundle stick/st-01.000002.request
  refused 73 'st-01.000002.request is a bundle that this station did not send' export_to stick
  [[ $(ls stick) == st-01.000002.request ]]
}

@test "a bundle of more than 10,000 requests or receipts is refused whole" {
  make_factory D-1
  make_foreign_station
  printf x >D-1.der
  mkdir stick
  remember
  bundle_of D-1 | jq '.requests[0] as $one | .requests = [range(10001) | . as $i | $one | .device_id = "D-\($i)"]' |
    sign_bundle stick/x.request
  refused_whole 65 'requests: is longer than 10000'
  bundle_of D-1 | jq '.receipts = [range(10001) | {device_id: "D-1", serial: "01", result: "accepted"}]' |
    sign_bundle stick/x.request
  refused_whole 65 'receipts: is longer than 10000'
}
