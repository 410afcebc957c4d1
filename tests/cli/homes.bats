#!/usr/bin/env bats
# Home directories: what is in them, who may read it, and how mistakes in them are found.
load factory

# refuses_before_it_makes_anything CODE PATTERN INIT…: nothing even comes and goes in here/
refuses_before_it_makes_anything() {
  mkdir -p here
  touch --date=2020-01-01 here
  refused "$@"
  [[ $(date --reference=here +%F) == 2020-01-01 ]]
}

@test "a path that SoftHSM's configuration cannot hold is refused, and nothing is made" {
  for home in 'a#b' a=b $'a\nb' $'a\rb'; do
    for init in "ca init --name Test" "ca root init --name Test" "station init --name st-01" \
      "gateway init --name gw.example.test --environment production"; do
      read -ra command <<<"fleetroot-$init"
      refuses_before_it_makes_anything 78 'SoftHSM cannot keep tokens in /.*/tokens' "${command[@]}" --home "here/$home"
      grep --quiet 'hint: .*"#"' <<<"$stderr"
    done
  done
  long=$(printf 'd%.0s' {1..200})
  mkdir -p "$long/$long/$long/$long"
  refused 78 'SoftHSM cannot keep tokens in' fleetroot-station init --home "$long/$long/$long/$long/$long" --name st-01
  fleetroot-station init --home 'a b; ü' --name st-01

  # a home that was moved to such a place
  mv 'a b; ü' 'a#b'
  refused 78 'SoftHSM cannot keep tokens in /.*/a#b/softhsm/tokens' fleetroot-station config check --home 'a#b'
}

@test "a token URI that is none, or names no module, is refused, and nothing is made" {
  for init in "ca init --name Test --issuing-token" "ca init --name Test --root-token" "ca root init --name Test --token" \
    "station init --name st-01 --token" "gateway init --name gw.example.test --environment production --token"; do
    read -ra command <<<"fleetroot-$init"
    refuses_before_it_makes_anything 64 'an attribute that is not used' "${command[@]}" pkcs11:tokn=x --home here/home
    refuses_before_it_makes_anything 78 'names no module' "${command[@]}" pkcs11:token=x --home here/home
  done
}

@test "secrets are for their owner alone, whatever the umask" {
  umask 000
  make_factory DEV-1
  make_token dev-1
  chmod 600 dev-1/pin
  provision dev-1 DEV-1

  for home in ca st; do
    [[ $(stat -c %a "$home") == 700 ]]
    run ! grep . < <(find "$home" \( -name '*pin*' -o -name '*.db*' \) -type f -perm /077)
    run ! grep . < <(find "$home" -type f -perm /022)
  done
  # and no private key lies anywhere as a file
  run ! grep -rl 'PRIVATE KEY' .
}

@test "init takes no directory that has something in it" {
  make_ca
  before=$(find ca -type f -exec sha256sum {} + | sort)

  refused 73 'ca' fleetroot-ca init --home ca --name Again
  [[ $(find ca -type f -exec sha256sum {} + | sort) == "$before" ]]

  mkdir st && echo precious >st/file
  refused 73 'st' fleetroot-station init --home st --name st-01
  [[ $(ls st) == file ]]
}

@test "a failed init leaves nothing behind" {
  mkdir closed
  touch closed/file

  refused 73 '.' fleetroot-ca init --home closed/file/ca --name X
  refused 73 '.' fleetroot-station init --home closed/file/st --name st-01
  run --separate-stderr ! fleetroot-station init --home st --name 'st/01'

  [[ ! -e st ]]
}

@test "of several files that a command names, the wrong one is named" {
  make_ca
  echo garbage >wrong.pem
  fleetroot-station init --home st --name st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  for files in "wrong.pem ca/issuing-ca.pem ca/fleet-root.pem" "st-01.pem wrong.pem ca/fleet-root.pem" \
    "st-01.pem ca/issuing-ca.pem wrong.pem"; do
    read -r certificate issuing root <<<"$files"
    refused 65 '^fleetroot-station: error: wrong.pem: this is not a certificate' fleetroot-station enroll --home st \
      --certificate "$certificate" --ca-certificate "$issuing" --fleet-root "$root" --ca exec:false
  done
  printf '%s\n' device_id D-1 D-1 >twice.csv
  refused 65 'twice.csv: line 3: the device D-1 is there twice' fleetroot-ca order create --home ca --id PO-1 \
    --devices twice.csv
}

@test "a home that is not there: an error and a hint" {
  for command in "fleetroot-ca order list" "fleetroot-ca cert list" "fleetroot-ca respond" "fleetroot-ca config check" \
    "fleetroot-station config check" "fleetroot-ca media inspect stick"; do
    read -ra words <<<"$command"
    refused 78 'nowhere' "${words[@]}" --home nowhere
    [[ $stderr == *"hint: check --home"* ]]
  done
}

@test "a home that cannot be opened: 78 from every command, and which file" {
  mkdir ca gw st
  ln -s ca.toml ca/ca.toml
  ln -s gateway.toml gw/gateway.toml
  for command in "order list" "cert list" "ledger verify" "config check" "crl publish"; do
    # shellcheck disable=SC2086 # several words
    refused 78 'cannot open ca/ca.toml' fleetroot-ca $command --home ca
  done
  for command in "config check" "fleet-root list" "credentials list"; do
    # shellcheck disable=SC2086 # several words
    refused 78 'cannot open gw/gateway.toml' fleetroot-gateway $command --home gw
  done
}

@test "what an init that was killed has left: the hint says what to do with it" {
  make_ca
  fleetroot-station init --home st --name st-01
  fleetroot-gateway init --home gw --name gw.example.test --environment production
  rm ca/ca.toml st/station.toml gw/gateway.toml
  while read -r command; do
    # shellcheck disable=SC2086 # several words
    refused 78 'there is no' fleetroot-$command
    [[ $stderr == *"if an init was broken off there, remove the directory"* ]]
  done <<'END'
ca config check --home ca
ca order list --home ca
station config check --home st
gateway config check --home gw
gateway fleet-root list --home gw
END
}

@test "a ledger from a back-up does not hold the checkpoint that was noted since" {
  make_ca
  sqlite3 ca/ledger.db ".backup back-up"
  make_order PO-1 D-1
  noted=$(fleetroot-ca ledger verify --home ca --json | jq -r .checkpoint)
  make_order PO-2 D-2
  run -0 fleetroot-ca ledger verify --home ca --checkpoint "$noted"
  [[ $output == *"among them the one that was noted"* ]]

  rm ca/ledger.db*
  mv back-up ca/ledger.db
  fleetroot-ca ledger verify --home ca
  refused 74 "does not hold the checkpoint $noted" fleetroot-ca ledger verify --home ca --checkpoint "$noted"
  run --separate-stderr -74 fleetroot-ca ledger verify --home ca --checkpoint "$noted" --json
  [[ $(jq -r '.event + " " + .result + " " + .error.code' <<<"$output") == "ledger fail io" ]]
  refused 64 'checkpoint is none' fleetroot-ca ledger verify --home ca --checkpoint yesterday
}

@test "config check says that the clock is behind the ledger" {
  make_ca
  fleetroot-station init --home st --name st-01
  days_later 10 fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  refused 78 "this machine's clock says" fleetroot-ca config check --home ca
}

@test "config check finds nothing wrong with a fresh home" {
  make_factory DEV-1

  run -0 fleetroot-ca config check --home ca
  run -0 fleetroot-station config check --home st
}

@test "a station's home from a back-up that left out what was empty" {
  make_factory DEV-1
  make_token dev-1
  rmdir st/locks
  run -0 fleetroot-station config check --home st
  run -0 provision dev-1 DEV-1
  [[ $(stat -c %a st/locks) == 700 ]]
}

@test "an unknown key is an error that names the nearest known one" {
  make_factory DEV-1
  make_token dev-1
  cp st/station.toml kept.toml

  # at the top of the file, so that it belongs to no section
  sed -i '1i nmae = "st-01"' st/station.toml
  refused 78 'nmae' fleetroot-station config check --home st
  grep -q 'name' <<<"$stderr"
  refused 78 'nmae' provision dev-1 DEV-1
  cp kept.toml st/station.toml

  sed -i '1i nmae = "x"' ca/ca.toml
  refused 78 'nmae' fleetroot-ca config check --home ca
}

@test "a file that is no TOML: 78, with the line" {
  make_factory DEV-1
  echo '= = =' >>st/station.toml
  line=$(wc -l <st/station.toml)

  refused 78 "station.toml.*$line|$line.*station.toml" fleetroot-station config check --home st
}

@test "a station that is not enrolled yet says so" {
  make_ca
  make_order PO-1 DEV-1
  fleetroot-station init --home st --name st-01
  make_token dev-1

  refused 78 'enroll|certificate' provision dev-1 DEV-1
  [[ $stderr == *"fleetroot-station enroll"* ]]
  [[ $(objects_on dev-1) == 0 ]]
}

@test "a station.toml without a way to the CA, or with none that exists: 78, file and key" {
  make_factory DEV-1
  make_token dev-1
  cp st/station.toml good.toml
  for line in 'ca = "foo:bar"' 'ca = ""' 'ca = "media:"' \
    'ca = "https://"' 'ca = "est+https://h:x"' "ca = 'exec:\"open'" ''; do
    sed "s|^ca = .*|$line|" good.toml >st/station.toml
    refused 78 'st/station.toml: ca is ' fleetroot-station config check --home st
    refused 78 'st/station.toml: ca is ' provision dev-1 DEV-1
    refused 78 'st/station.toml: ca is ' fleetroot-station renew --home st
    refused 78 'st/station.toml: ca is ' \
      fleetroot-station line --home st --order PO-1 --bay "1=$(token_uri dev-1)" </dev/null
  done
  [[ $(objects_on dev-1) == 0 ]]
  # the same on the command line is the command line's fault
  refused 64 'foo:bar' provision dev-1 DEV-1 --ca foo:bar
  refused 64 'foo:bar' fleetroot-station renew --home st --ca foo:bar
  # and where the command line is right, or mends it, the file is not asked
  provision dev-1 DEV-1 --ca 'exec:fleetroot-ca respond --home ca'
  fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca 'exec:fleetroot-ca respond --home ca'
  fleetroot-station config check --home st
}

@test "a damaged certificate in a station's home: 78, and which" {
  make_factory DEV-1
  make_token dev-1
  for name in station issuing-ca fleet-root; do
    cp "st/$name.pem" good.pem
    for content in '' 'no certificate'; do
      printf '%s' "$content" >"st/$name.pem"
      refused 78 "st/$name.pem cannot be used: this is not a certificate" fleetroot-station config check --home st
      refused 78 "st/$name.pem cannot be used" provision dev-1 DEV-1
    done
    mv good.pem "st/$name.pem"
  done
  [[ $(objects_on dev-1) == 0 ]]
  fleetroot-station config check --home st
}

@test "what is wrong in a CA's home: 78, and which file" {
  make_ca
  cp -r ca good
  wrong() { # wrong PATTERN
    refused 78 "$1" fleetroot-ca config check --home ca
    rm -r ca && cp -r good ca
  }
  for name in issuing-ca fleet-root; do
    : >"ca/$name.pem"
    wrong "ca/$name.pem cannot be used: this is not a certificate"
  done
  cp ca/profiles/device.toml 'ca/profiles/a b.toml'
  wrong 'ca/profiles/a b.toml cannot be used: the profile name is not valid'
  rm -r ca/profiles
  wrong 'cannot read the directory ca/profiles'
  for name in '' "$(printf 'n%.0s' {1..49})" 'a\\u0007b'; do
    sed -i "s|^name = .*|name = \"$name\"|" ca/ca.toml
    wrong 'ca/ca.toml: name cannot be used'
  done
  sed -i "s|^name = .*|name = \"$(printf 'n%.0s' {1..48})\"|" ca/ca.toml
  fleetroot-ca config check --home ca
}

@test "config check of an offline root tries its key" {
  fleetroot-ca root init --home root --name Test
  run -0 fleetroot-ca config check --home root
  [[ $output == *"Test Fleet Root"*"its key signs (p256)"* ]]

  mv root/softhsm away
  refused 78 'the embedded token is gone' fleetroot-ca config check --home root
  mv away root/softhsm
  rm root/fleet-root.pem
  refused 78 'no root/fleet-root.pem' fleetroot-ca config check --home root

  # it issues to no device
  printf '%s\n' device_id D-1 >devices.csv
  refused 78 'no issuing key' fleetroot-ca order create --home root --id PO-1 --devices devices.csv
  refused 78 'no issuing key' fleetroot-ca media inspect --home root stick

  # one that was carried away is no fault of the factory CA
  make_ca
  mv ca/root safe
  fleetroot-ca config check --home ca
}

@test "what is said of an existing key takes an existing CA" {
  refused 64 'key of an existing CA' fleetroot-ca init --home ca --name Test --issuing-key-id 42
  [[ ! -e ca ]]
}

@test "enroll refuses a certificate that is not this station's, and a CA that is not under the root" {
  make_ca
  fleetroot-station init --home st --name st-01
  fleetroot-station init --home st2 --name st-02
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st.pem
  fleetroot-ca station enroll --home ca --name st-02 --request st2/station.csr --out st2.pem
  mkdir elsewhere && (cd elsewhere && make_ca)
  enroll() {
    fleetroot-station enroll --home st --certificate "$1" --ca-certificate "$2" --fleet-root "$3" \
      --ca 'exec:fleetroot-ca respond --home ca'
  }

  refused '65' '.' enroll st2.pem ca/issuing-ca.pem ca/fleet-root.pem
  refused '65' '.' enroll st.pem elsewhere/ca/issuing-ca.pem elsewhere/ca/fleet-root.pem
  refused '65' '.' enroll st.pem ca/issuing-ca.pem elsewhere/ca/fleet-root.pem

  run -0 enroll st.pem ca/issuing-ca.pem ca/fleet-root.pem
}

@test "enroll writes nothing unless station.toml can be read with the new way to the CA in it" {
  make_ca
  fleetroot-station init --home st --name st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st.pem
  enroll_at() {
    fleetroot-station enroll --home st --certificate st.pem --ca-certificate ca/issuing-ca.pem \
      --fleet-root ca/fleet-root.pem --ca "$1"
  }
  refused 64 'no text in UTF-8' enroll_at $'exec:caf\xe9'
  sed -i 's/^ca = .*/"ca" = ""/' st/station.toml
  refused 78 'st/station.toml' enroll_at 'exec:fleetroot-ca respond --home ca'
  [[ ! -e st/station.pem && $(grep -c respond st/station.toml) == 0 ]]
  sed -i 's/^"ca" = .*/ \t ca = ""/' st/station.toml
  run -0 enroll_at 'exec:fleetroot-ca respond --home ca'
  fleetroot-station config check --home st
}

@test "a station's key has one fingerprint: as its init says it, of the request, and as the CA says it" {
  make_ca
  run -0 fleetroot-station init --home st --name st-01
  said_by_station=$output
  fingerprint=$(openssl req -in st/station.csr -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum)
  fingerprint=${fingerprint%% *}
  [[ $said_by_station == *" $fingerprint"$'\n'* ]]
  run -0 fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  [[ $output == *" $fingerprint" ]]
  [[ $(fleetroot-ca station list --home ca --json | jq -r .public_key) == "$fingerprint" ]]
}

@test "a station request that is not sound enrolls nobody" {
  make_ca
  openssl req -new -newkey rsa:1024 -nodes -keyout key.pem -subj /CN=st-01 -out weak.csr

  refused 65 '.' fleetroot-ca station enroll --home ca --name st-01 --request weak.csr --out st-01.pem

  [[ ! -e st-01.pem ]]
  [[ $(fleetroot-ca station list --home ca --json | jq -s 'map(if type == "array" then .[] else . end) | length') == 0 ]]
}

@test "the PIN in the environment does not disturb a home's own PIN" {
  make_factory DEV-1
  make_token dev-1
  FLEETROOT_STATION_HOME=$PWD/st on_token dev-1 fleetroot-station provision --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"
}

@test "a key that could not sign messages is refused before anything is made" {
  refused 64 'Ed25519' fleetroot-ca init --home ca --name X --algorithm ed25519
  refused 64 'Ed25519' fleetroot-ca root init --home root --name X --algorithm ed25519
  refused 64 'Ed25519' fleetroot-station init --home st --name st-01 --algorithm ed25519
  refused 64 'no key algorithm' fleetroot-ca init --home ca --name X --algorithm rsa1024
  [[ $stderr == *"rsa3072, or, for a device's key, ed25519"* ]]
  [[ ! -e ca && ! -e root && ! -e st ]]

  make_ca
  openssl req -new -newkey ed25519 -nodes -keyout key.pem -subj /CN=st-01 -out ed25519.csr
  refused 64 'Ed25519' fleetroot-ca station enroll --home ca --name st-01 --request ed25519.csr --out st-01.pem
  [[ ! -e st-01.pem ]]
}

@test "a clock that went back certifies no station and no CA" {
  make_ca
  refused 78 "clock says 2020-01-01" faketime '2020-01-01' fleetroot-ca config check --home ca
  fleetroot-station init --home st --name st-01

  refused 78 'clock' faketime '2020-01-01' fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr \
    --out st-01.pem
  [[ ! -e st-01.pem ]]
  fleetroot-ca init --home other --name "Other Factory" --external-root
  refused 78 'clock' faketime '2020-01-01' fleetroot-ca root issue --home ca --request other/issuing-ca.csr --out other.pem
  [[ ! -e other.pem ]]
}

@test "what is wrong at the CA is said to be wrong there" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  on_token DEV-1 days_later 1 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri DEV-1)"
  refused 78 "the CA cannot issue: this machine's clock says" provision DEV-2 DEV-2
  [[ $stderr == *"hint: on the CA's machine: set the clock right"* && -n $(stranger DEV-2 --list-objects) ]]
}

@test "why the CA could not is on its stderr, with the cause, and travels without it" {
  make_factory DEV-1
  make_token DEV-1
  sqlite3 ca/ledger.db 'alter table order_devices rename to gone'
  run --separate-stderr -74 provision DEV-1 DEV-1
  [[ $(grep -c '^fleetroot-ca: cannot answer: .*no such table: order_devices' <<<"$stderr") == 1 ]]
  [[ $(grep -c '^fleetroot-station: error: ' <<<"$stderr") == 1 ]]
  run ! grep '^fleetroot-station.*no such table' <<<"$stderr"
}

@test "a report that cannot be written whole is an error: 74" {
  make_ca

  run --separate-stderr -74 bash -c 'fleetroot-ca order list --home ca >/dev/full'
  [[ $stderr == *": error: "*output*": hint: "* ]]
}

@test "a CA's name is words, in UTF-8 and in one line" {
  for name in "   " $'Acme\tFactory' $'Acme\nFactory' $'Acme\x80' "$(printf '%049d' 0)"; do
    refused 64 'name cannot be used' fleetroot-ca init --home ca --name "$name"
    refused 64 'name cannot be used' fleetroot-ca root init --home root --name "$name"
  done
  [[ ! -e ca && ! -e root ]]
  fleetroot-ca init --home ca --name "Škoda Werk 1"
}

@test "a report that fails says so to machines, in one object on stdout" {
  make_ca
  fails() { # CODE COMMAND…
    run --separate-stderr ! fleetroot-ca "${@:2}" --json
    jq -es --arg code "$1" 'length == 1 and .[0].schema == "fleetroot/1" and .[0].result == "fail" and
      .[0].error.code == $code and .[0].error.hint != ""' <<<"$output"
    [[ $stderr == *": error: "*": hint: "* ]]
  }

  fails not_on_order cert show --home ca --device-id DEV-1
  fails order_unknown cert list --home ca --order PO-9
  fails order_unknown order show --home ca --id PO-9
  fails configuration crl publish --home ca --delta
  [[ $(jq -r .event <<<"$output") == crl ]]
  rm ca/ledger.db*
  fails io order list --home ca
  fails io station list --home ca
  fails io rework list --home ca
  fails io ledger verify --home ca
}

@test "a ledger that is gone, or emptied, is never taken for a new one" {
  make_factory DEV-1
  fleetroot-ca crl publish --home ca
  sha256sum ca/crl.* >lists
  cp -r ca whole
  without_ledger() { # by each command, with nothing made in its place
    local command
    for command in "cert list" "config check" "ledger verify" "order list" "crl publish" "station list" \
      "serve --listen 127.0.0.1:0"; do
      # shellcheck disable=SC2086 # several words
      refused 74 'ledger.*(gone|empty)' fleetroot-ca $command --home ca
    done
    sha256sum --check --quiet lists
  }
  rm ca/ledger.db*
  without_ledger
  [[ -z $(find ca -name 'ledger.db*') ]]
  : >ca/ledger.db
  without_ledger
  [[ ! -s ca/ledger.db ]]
  rm -r ca && mv whole ca
  fleetroot-ca ledger verify --home ca
}

@test "standard files that are closed are nobody else's" {
  make_factory DEV-1
  make_token DEV-1
  run --separate-stderr -74 on_token DEV-1 bash -c 'fleetroot-station line --home st --order PO-1 --bay "$1" <&-' - \
    "1=$(token_uri DEV-1)"
  [[ $stderr == *"cannot read the scans"* ]]
  run --separate-stderr -74 bash -c 'fleetroot-ca order list --home ca >&-'
  [[ $stderr == *"cannot write the output"* ]]
  provision DEV-1 DEV-1 --ca media:queue
  run --separate-stderr -74 bash -c 'fleetroot-ca respond --home ca <queue/PO-1/DEV-1.p10cr >/dev/full'
  [[ $stderr == *"cannot write the answer"* ]]
  run --separate-stderr -74 bash -c 'fleetroot-ca respond --home ca <queue/PO-1/DEV-1.p10cr >&-'
  # stderr closed: no file of ours takes its place, and gets the words
  run -78 bash -c 'fleetroot-ca config check --home st 2>&-'
  provision DEV-1 DEV-1
}
