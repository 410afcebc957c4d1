#!/usr/bin/env bats
# Every bit of what a station signs is flipped, more than ten thousand, and the CA hears each: no certificate, nothing in the
# ledger or its log, and it goes on. The extraCerts behind are covered by no signature: tests/unit/cmp_fuzz_test.cc.
load factory
load serve
load foreign_station

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_ca
  make_order PO-1 DEV-1
  make_foreign_station
  # As long as requests get, so that there are bits enough.
  openssl req -new -newkey rsa:3072 -nodes -keyout DEV-1.key -subj /CN=DEV-1 -out DEV-1.csr \
    -addext "nsComment=$(printf 'x%.0s' {1..120})" 2>/dev/null
  message_of DEV-1.csr DEV-1.der
  openssl pkey -in DEV-1.key -pubout -outform DER -out key.der
  signed=$(openssl asn1parse -inform DER -in DEV-1.der | sed -n 's/^ *\([0-9]*\):d=1 .*cont \[ 1 \].*/\1/p')
  ((8 * signed > 10000))
  cat >flip.py <<'EOF'
import http.client, ssl, subprocess, sys

def over_the_lan(address):
    context = ssl.create_default_context(cafile='ca/fleet-root.pem')
    context.load_cert_chain('st-x.pem', 'st-x.key')
    connection = http.client.HTTPSConnection(address, context=context)
    connection.connect()
    connection.auto_open = 0  # one is enough
    def ask(message):
        connection.request('POST', '/.well-known/cmp/p/PO-1', message, {'Content-Type': 'application/pkixcmp'})
        response = connection.getresponse()
        assert response.status in (200, 400), response.status
        return response.read()
    return ask

def through_respond():
    ca = None
    def ask(message):
        nonlocal ca
        ca = ca or subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca', '--order', 'PO-1'],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ca.stdin.write(message)
        ca.stdin.flush()
        has_other_length = message[:4] != whole[:4]
        if has_other_length:  # it would wait for more
            ca.stdin.close()
        head = ca.stdout.read(4)
        answer = head + ca.stdout.read(int.from_bytes(head[2:], 'big'))
        if has_other_length or not head:  # this, or what was left of it behind, was no message any more
            assert ca.wait() == 76
            ca = None
        return answer
    return ask

whole, key = open('DEV-1.der', 'rb').read(), open('key.der', 'rb').read()
ask = {'over_the_lan': over_the_lan, 'through_respond': through_respond}[sys.argv[2]](*sys.argv[3:])
signed = int(sys.argv[1])
for bit in range(8 * signed):
    message = bytearray(whole)
    message[bit // 8] ^= 1 << bit % 8
    if message[:2] == whole[:2] and 4 + int.from_bytes(message[2:4], 'big') == signed:
        continue  # by chance it ends where the extraCerts begin: the same message without them
    assert key not in ask(bytes(message)), bit
EOF
}

# flip_each WAY [ARGUMENT]: and nothing has changed
flip_each() {
  remember
  fleetroot-ca ledger verify --home ca --json >before
  python3 flip.py "$signed" "$@"
  nothing_changed
  fleetroot-ca ledger verify --home ca --json | cmp - before
}

@test "over the LAN, in one connection" {
  begin_serving
  front=$(child front) signer=$(child signer)

  flip_each over_the_lan "$address"

  [[ $(child front) == "$front" && $(child signer) == "$signer" ]]
  p10cr_over_the_lan DEV-1.csr DEV-1.pem
  [[ $(openssl x509 -in DEV-1.pem -noout -pubkey) == "$(openssl pkey -in DEV-1.key -pubout)" ]]
  end_serving
}

@test "through respond, which ends where it is no message any more" {
  flip_each through_respond

  fleetroot-ca respond --home ca --order PO-1 <DEV-1.der >answer
  [[ $(certificates_in_ledger) == 1 ]]
}
