# A factory for one test, in a directory of its own: a CA in ca/, a station in st/, and a directory for each token.
# Every test file loads it; setup() is bats' own hook.

bats_require_minimum_version 1.5.0

softhsm=/usr/lib/softhsm/libsofthsm2.so
export SOFTHSM2_CONF=/nonexistent/softhsm2.conf # a test that forgets to name its token must not find another

setup() {
  cd "$BATS_TEST_TMPDIR" || return
}

# make_ca [OPTION…]
make_ca() {
  fleetroot-ca init --home ca --name "Test Factory" "$@"
}

# make_order ORDER DEVICE-ID…
make_order() {
  printf '%s\n' device_id "${@:2}" >"$1.csv"
  fleetroot-ca order create --home ca --id "$1" --profile device --devices "$1.csv"
}

# make_station [HOME [NAME]]
make_station() {
  fleetroot-station init --home "${1:-st}" --name "${2:-st-01}"
  enroll_station "$@"
}

# enroll_station [HOME [NAME]]: whose init has run
enroll_station() {
  local home=${1:-st} name=${2:-st-01}
  fleetroot-ca station enroll --home ca --name "$name" --request "$home/station.csr" --out "$name.pem"
  fleetroot-station enroll --home "$home" --certificate "$name.pem" --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca 'exec:fleetroot-ca respond --home ca'
}

# make_factory DEVICE-ID…: a CA with the open order PO-1, and a station
make_factory() {
  make_ca
  make_order PO-1 "$@"
  make_station
}

# make_token_directory NAME: room for SoftHSM tokens, and none in it
make_token_directory() {
  mkdir -p "$1/tokens"
  printf '%s\n' "directories.tokendir = $PWD/$1/tokens" 'objectstore.backend = file' 'log.level = ERROR' \
    >"$1/softhsm2.conf"
}

# Not a PIN that could occur by chance where a test looks for it.
default_pin=pin-Zx81-Qy42

# add_token NAME LABEL: one more initialised token; its PIN is in NAME/pin
add_token() {
  (umask 077 && printf '%s\n' "$default_pin" >"$1/pin")
  local slot
  SO_PIN=so-87654321 on_token "$1" pkcs11-tool --module "$softhsm" --init-token --slot-index "${3:-0}" \
    --label "$2" --so-pin env:SO_PIN
  # it has moved to a slot of its own, and is the one without a PIN
  slot=$(on_token "$1" pkcs11-tool --module "$softhsm" --list-token-slots | awk '
    /^Slot/ { id = $3; gsub(/[():]/, "", id) }
    /token flags/ && /token initialized/ && !/PIN initialized/ { print id }')
  SO_PIN=so-87654321 USER_PIN=$default_pin on_token "$1" pkcs11-tool --module "$softhsm" --slot "$slot" \
    --login --login-type so --so-pin env:SO_PIN --init-pin --pin env:USER_PIN
}

# make_token NAME…: a directory with one token of the same name each
make_token() {
  local name
  for name in "$@"; do
    make_token_directory "$name"
    add_token "$name" "$name"
  done
}

# on_token NAME COMMAND…
on_token() {
  SOFTHSM2_CONF=$PWD/$1/softhsm2.conf "${@:2}"
}

# days_later COUNT COMMAND…: faketime(1) looks at the clock twice to find out how far ahead to be, and is a second off
# now and then; nothing is ever issued back in time.
days_later() {
  FAKETIME=+$1d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 "${@:2}"
}

# stranger NAME OPTION…: pkcs11-tool, logged in, the PIN not in argv
stranger() {
  stranger_in "$1" "$1" "${@:2}"
}
# stranger_in NAME LABEL OPTION…: the same, where a directory has several tokens
stranger_in() {
  USER_PIN=$(<"$1/pin") on_token "$1" pkcs11-tool --module "$softhsm" --token-label "$2" --login --pin env:USER_PIN \
    "${@:3}"
}

token_uri() {
  echo "pkcs11:token=$1?module-path=$softhsm&pin-source=file:$1/pin"
}

# provision TOKEN DEVICE-ID [OPTION…]: on order PO-1
provision() {
  on_token "$1" fleetroot-station provision --home st --order PO-1 --device-id "$2" --token "$(token_uri "$1")" "${@:3}"
}

# half_confirm: sets `half`, a way to the CA that brings the certificate and loses the confirmation
half_confirm() {
  cat >half-ca <<'EOF'
#!/usr/bin/env python3
import subprocess, sys
def message(stream):
    head = stream.read(4)
    assert head[0] == 0x30 and head[1] == 0x82
    return head + stream.read(head[2] << 8 | head[3])
ca = subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ca.stdin.write(message(sys.stdin.buffer))
ca.stdin.flush()
sys.stdout.buffer.write(message(ca.stdout))
sys.stdout.buffer.flush()
message(sys.stdin.buffer)
ca.kill()
EOF
  chmod +x half-ca
  half=exec:$PWD/half-ca
}

# What must not change when something is refused: the objects on the tokens, the ledger, the orders.
state_of() {
  local token
  for token in "$@"; do
    echo "token $token"
    stranger "$token" --list-objects
  done
  fleetroot-ca cert list --home ca --json
  fleetroot-ca order list --home ca --json
}

# remember TOKEN…, and later: nothing_changed
remember() {
  remembered_tokens=("$@")
  remembered_state=$(state_of "$@")
}
nothing_changed() {
  diff <(echo "$remembered_state") <(state_of "${remembered_tokens[@]}")
}

# refused EXIT-CODE PATTERN COMMAND…: that exit code, one error that matches, one hint, both on stderr
refused() {
  run --separate-stderr "-$1" "${@:3}"
  [[ $(grep -c ': error: ' <<<"$stderr") == 1 ]]
  [[ $(grep -c ': hint: .' <<<"$stderr") == 1 ]]
  grep ': error: ' <<<"$stderr" | grep --extended-regexp --ignore-case --quiet -- "$2" || {
    echo "expected an error that matches '$2', got: $stderr"
    return 1
  }
}

# error_code COMMAND…: the code in the last JSON line of a command that fails
error_code() {
  "$@" --json 2>/dev/null | tail -n 1 | jq -r .error.code
}

certificates_in_ledger() {
  fleetroot-ca cert list --home ca --json | jq -s 'map(if type == "array" then .[] else . end) | length'
}

# objects_on TOKEN CLASS: how many ("Private Key", "Public Key", "Certificate", or "" for all)
objects_on() {
  stranger "$1" --list-objects 2>/dev/null | awk -v kind="${2:-} Object" 'index($0, kind) { n++ } END { print n + 0 }'
}

# objects_in TOKEN: a digest of each object's file. Not of token.object, which SoftHSM rewrites at every login.
objects_in() {
  find "$1/tokens" -type f -name '*.object' ! -name token.object -exec sha256sum {} + | sort
}
