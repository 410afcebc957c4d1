# What strangers say of a token.

# strangers_see MODULE TOKEN PIN-FILE ACCESS [USAGE]: OpenSC and GnuTLS find one of each under one CKA_ID, and a private
# key that signs and does nothing else
strangers_see() {
  local key flags
  local -x USER_PIN GNUTLS_PIN # not in argv
  USER_PIN=$(<"$3")
  GNUTLS_PIN=$USER_PIN
  run --separate-stderr -0 pkcs11-tool --module "$1" --token-label "$2" --login --pin env:USER_PIN --list-objects
  [[ $(sed -n 's/ Object;.*//p' <<<"$output" | sort) == $'Certificate\nPrivate Key\nPublic Key' ]]
  [[ $(grep -c '^  ID: *01$' <<<"$output") == 3 ]]
  key=$(awk '/ Object;/ { wanted = /^Private Key/ } wanted' <<<"$output")
  grep -qx "  Access: *$4" <<<"$key"
  grep -qx "  Usage: *${5:-sign}" <<<"$key"
  grep -A 9 '^Public Key' <<<"$output" | grep -q '  Usage: .*verify' # softokn adds derive to EC keys

  run --separate-stderr -0 p11tool --provider "$1" --batch --login --list-all "pkcs11:token=${2// /%20}"
  [[ $(grep -c '^Object ' <<<"$output") == 3 && $(grep -c 'ID: 01$' <<<"$output") == 3 ]]
  flags=$(grep -A 2 'Type: Private key' <<<"$output" | grep 'Flags:')
  [[ $flags == *CKA_PRIVATE* && $flags == *CKA_NEVER_EXTRACTABLE* && $flags == *CKA_SENSITIVE* ]]

  # and it does not come out
  run pkcs11-tool --module "$1" --token-label "$2" --login --pin env:USER_PIN --read-object \
    --type privkey --id 01 --output-file private-key
  [[ ! -s private-key ]]
}
