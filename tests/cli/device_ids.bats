#!/usr/bin/env bats
# What must never become a device's name, by every way in: the command line, a work order, a request.
load factory

# one row a bad ID: NAME, then the ID as a Python bytes literal
bad_ids() {
  cat <<'EOF'
empty b''
65-characters b'A' * 65
newline b'DEV\n1'
carriage-return b'DEV\r1'
slash b'DEV/1'
up-and-away b'../DEV-1'
leading-blank b' DEV-1'
trailing-blank b'DEV-1 '
tab b'DEV\t1'
not-utf-8 b'DEV-\xff\xfe'
umlaut 'DEV-Ä'.encode()
quote b'DEV"1'
semicolon b'DEV;1'
comma b'DEV,CN=1'
dash-first b'-DEV'
escape b'DEV\x1b[2J'
EOF
}

write_id() {
  python3 -c 'import sys; sys.stdout.buffer.write(eval(sys.argv[1]))' "$1"
}

@test "on the command line: 65, with a hint, before anything is touched" {
  make_factory DEV-1
  make_token dev-1
  remember dev-1

  while read -r name literal; do
    id=$(write_id "$literal" && echo .)
    echo "# $name"
    refused 65 'device ID' provision dev-1 "${id%.}"
    # an error never repeats raw control characters to a terminal
    run -1 grep -P '[^\x20-\x7e\n]' <<<"$stderr"
  done < <(bad_ids | grep -v dash-first)
  refused 65 'device ID' on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id=-DEV \
    --token "$(token_uri dev-1)"

  nothing_changed
}

# from_file FILE [OPTION…]: provision by that scan
from_file() {
  on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id-file "$1" --token "$(token_uri dev-1)" "${@:2}"
}
from_stdin() {
  from_file - <"$1"
}

@test "the byte order mark that editors of Windows put at the very start is no part of a scan" {
  make_factory DEV-1
  make_token dev-1
  for bad in $'\xef\xbb\xbf\xef\xbb\xbfDEV-1' $'DEV-1\xef\xbb\xbf' $'\xef\xbbDEV-1' $'\xef\xbb\xbf'; do
    printf %s "$bad" >scan
    refused 65 'device ID' from_file scan
    refused 65 'device ID' from_stdin scan
  done
  refused 65 'device ID' provision dev-1 $'\xef\xbb\xbfDEV-1'

  printf '\xef\xbb\xbfDEV-1\r\n' >scan
  run -0 from_file scan
  run -0 from_stdin scan
}

@test "in a file and on stdin: the same, a NUL too, and before anything is touched" {
  make_factory DEV-1
  make_token dev-1
  remember dev-1

  { bad_ids; printf '%s\n' "nul b'DEV-1\x00'" "nul-within b'DEV-1\x00evil'" "nul-first b'\x00DEV-1'" "two-lines b'DEV-1\n\n'" \
    "nul-line b'DEV-1\x00\n'"; } >rows
  while read -r name literal; do
    echo "# $name"
    write_id "$literal" >scan
    refused 65 'device ID' from_file scan
    run -1 grep -P '[^\x20-\x7e\n]' <<<"$stderr"
    refused 65 'device ID' from_stdin scan
    run -1 grep -P '[^\x20-\x7e\n]' <<<"$stderr"
  done <rows
  refused 74 'cannot read nowhere' from_file nowhere
  refused 74 'cannot read dev-1' from_file dev-1

  nothing_changed
  from_file <(echo DEV-1)
}

@test "a scan from a file, and from stdin, with one line end or none" {
  make_factory DEV-1
  make_token dev-1
  printf 'DEV-1' >none
  printf 'DEV-1\n' >unix
  printf 'DEV-1\r\n' >dos

  run -0 from_stdin unix
  fleetroot-ca cert show --home ca --device-id DEV-1
  remember dev-1
  for scan in none unix dos; do
    run -0 from_file "$scan"
    [[ $output == *"already provisioned"* ]]
    run -0 from_stdin "$scan"
    [[ $output == *"already provisioned"* ]]
  done
  printf 'DEV-1\r' >mac
  head -c 5000 /dev/zero | tr '\0' D >long
  for scan in mac long; do
    refused 65 'device ID' from_stdin "$scan"
  done
  refused 65 'device ID' from_file mac
  refused 74 'larger' from_file long
  nothing_changed
}

@test "in a work order: 65, and there is no order" {
  make_ca
  # a NUL cannot be in argv, but it can be in a file
  { bad_ids | grep -v '^empty\|trailing-blank'; printf '%s\n' "nul b'DEV\\x001'"; } >rows

  while read -r name literal; do
    echo "# $name"
    python3 - "$literal" >"$name.csv" <<'EOF'
import sys
bad = eval(sys.argv[1])
sys.stdout.buffer.write(b'device_id\nDEV-1\n"' + bad.replace(b'"', b'""') + b'"\nDEV-2\n')
EOF
    refused 65 '.' fleetroot-ca order create --home ca --id PO-1 --profile device --devices "$name.csv"
  done <rows

  [[ $(fleetroot-ca order list --home ca --json | jq -s 'map(if type == "array" then .[] else . end) | length') == 0 ]]
}

@test "64 characters of every kind that is allowed are fine" {
  id=A$(printf 'z%.0s' {1..57})._:+@-
  [[ ${#id} == 64 ]]
  make_factory "$id"
  make_token dev-1

  run -0 provision dev-1 "$id"

  fleetroot-ca cert show --home ca --device-id "$id" --pem | openssl x509 -noout -subject -nameopt RFC2253 |
    grep -Fq "CN=${id/+/\\+}"
}

@test "a NUL in a request's name: 65" {
  make_factory DEV-1
  python3 - >nul.der <<'EOF'
import sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'DEV-1\x00evil')])
request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
sys.stdout.buffer.write(request.public_bytes(serialization.Encoding.DER))
EOF
  remember

  refused 65 '.' fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request nul.der --out out.pem

  [[ ! -e out.pem ]]
  nothing_changed
}
