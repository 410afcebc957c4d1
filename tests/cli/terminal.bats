#!/usr/bin/env bats
# A PIN that no source gives is asked for on the terminal, which is left as it was whatever happens.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
}

# at_terminal DEED… -- COMMAND…
at_terminal() {
  "$BATS_TEST_DIRNAME/at-terminal" "$@"
}

asking_uri() {
  echo "pkcs11:token=$1?module-path=$softhsm"
}

asking=(fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$(asking_uri dev-1)")

# echoes_again: what every session at a terminal must have shown, and not shown
echoes_again() {
  [[ $output == *"the terminal echoes" && $output != *"$default_pin"* ]]
}

# make_asking_ca: one whose root's and issuing CA's tokens are in hsm, and ask
make_asking_ca() {
  make_token_directory hsm
  add_token hsm ca-root
  add_token hsm ca-issuing 1
  export SOFTHSM2_CONF=$PWD/hsm/softhsm2.conf
  run -0 at_terminal type:"$default_pin" type:"$default_pin" -- fleetroot-ca init --home own --name "Own Factory" \
    --root-token "$(asking_uri ca-root)" --issuing-token "$(asking_uri ca-issuing)"
  echoes_again
}

@test "the PIN is asked for on the terminal, which does not show it" {
  run -0 on_token dev-1 at_terminal type:"$default_pin" -- "${asking[@]}"

  [[ $output == *"PIN for "*dev-1* && $output == *"PASS DEV-1"* ]]
  echoes_again
}

@test "a wrong PIN at the terminal: 77, and nothing of it is shown" {
  run -77 on_token dev-1 at_terminal type:wrong-pin -- "${asking[@]}"

  [[ $output != *wrong-pin* ]]
  echoes_again
}

@test "Ctrl-C, Ctrl-\\ and signals at the question end it, with the terminal as it was and nothing changed" {
  remember dev-1
  while read -r deed ended; do
    run "-$ended" on_token dev-1 at_terminal "$deed" -- "${asking[@]}"
    echoes_again
  done <<'END'
press:^C 130
press:^\ 131
kill:INT 130
kill:TERM 143
kill:HUP 129
END
  nothing_changed
}

@test "an init that is broken off at the question leaves no home, and the same command again makes it" {
  make_token own
  while read -r init; do
    read -ra command <<<"fleetroot-$init $(asking_uri own) --home home"
    for deed in press:^C kill:TERM kill:HUP; do
      run ! on_token own at_terminal "$deed" -- "${command[@]}"
      echoes_again
      [[ ! -e home ]]
    done
    run -0 on_token own at_terminal type:"$default_pin" -- "${command[@]}"
    rm -r home
    stranger own --delete-object --type privkey --id 01
    stranger own --delete-object --type pubkey --id 01
  done <<'END'
station init --name st-02 --token
ca root init --name Own --token
gateway init --name gw.example.test --environment production --token
END
}

@test "Enter alone and Ctrl-D are no PIN: 77" {
  for deed in type: press:^D; do
    run -77 on_token dev-1 at_terminal "$deed" -- "${asking[@]}"
    [[ $output == *": error: the PIN is empty"*": hint: "* ]]
    echoes_again
  done
}

@test "no source and no terminal: 77 with a hint" {
  refused 77 'no PIN was given, and there is no terminal' on_token dev-1 setsid --wait "${asking[@]}"
  [[ $stderr == *pin-source=file:*--pin-fd* ]]
  # which have no such option
  for command in 'fleetroot-ca init --home new --name x --root-token' 'fleetroot-station init --home new --name x --token'; do
    # shellcheck disable=SC2086 # words
    refused 77 'no PIN was given, and there is no terminal' on_token dev-1 setsid --wait $command \
      "pkcs11:token=dev-1?module-path=$softhsm"
    [[ $stderr == *pin-source=file:* && $stderr != *--pin-fd* && ! -e new ]]
  done
}

@test "a CA whose token asks" {
  make_asking_ca
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -subj /CN=DEV-1 -out csr
  fleetroot-ca order create --home own --id PO-1 --profile device --devices PO-1.csv
  issue=(fleetroot-ca cert issue --home own --order PO-1 --device-id DEV-1 --request csr --out DEV-1.pem)

  run -130 at_terminal press:^C -- "${issue[@]}"
  echoes_again
  [[ ! -e DEV-1.pem ]]
  refused 77 'no PIN was given, and there is no terminal' setsid --wait "${issue[@]}"
  run -0 at_terminal type:"$default_pin" -- "${issue[@]}"
  echoes_again
  openssl verify -CAfile own/fleet-root.pem -untrusted own/issuing-ca.pem DEV-1.pem
}

@test "a served CA asks as it starts; Ctrl-C and SIGTERM end it there and later" {
  make_asking_ca
  serve=(fleetroot-ca serve --home own --listen 127.0.0.1:0)

  for deed in press:^C kill:TERM; do
    run -77 at_terminal "$deed" -- "${serve[@]}"
    [[ $output == *": error: the question for the PIN was broken off"* ]]
    echoes_again
    run -0 at_terminal type:"$default_pin" "$deed" -- "${serve[@]}"
    echoes_again
  done
  refused 77 'no PIN was given, and there is no terminal' setsid --wait "${serve[@]}"
}

@test "a gateway whose token asks" {
  make_token_directory hsm
  add_token hsm gateway
  export SOFTHSM2_CONF=$PWD/hsm/softhsm2.conf
  run -0 at_terminal type:"$default_pin" -- fleetroot-gateway init --home gw --name localhost \
    --environment production --token "$(asking_uri gateway)"
  echoes_again
  serve=(fleetroot-gateway serve --home gw --listen production=127.0.0.1:0)

  run -77 at_terminal press:^C -- "${serve[@]}"
  echoes_again
  run -0 at_terminal type:"$default_pin" press:^C -- "${serve[@]}"
  echoes_again
}

# says_encrypted LABEL: a PEM text that wants a pass phrase, as it says
says_encrypted() {
  printf '%s\n' "-----BEGIN $1-----" 'Proc-Type: 4,ENCRYPTED' 'DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF' '' \
    "$(head -c 48 /dev/zero | base64)" "-----END $1-----"
}

@test "a file that says it is encrypted makes nobody be asked for a pass phrase" {
  says_encrypted CERTIFICATE >certificate.pem
  says_encrypted "CERTIFICATE REQUEST" >request.pem
  says_encrypted "X509 CRL" >list.pem
  fleetroot-gateway init --home gw --name gw.example.test --environment production
  while read -r command; do
    # without a terminal, and with a line that stdin would lose
    # shellcheck disable=SC2086 # words
    run -65 setsid --wait $command <<<"somebody's"
    [[ $output == *": error: "* && $output != *"pass phrase"* ]]
  done <<'END'
fleetroot-station enroll --home st --certificate certificate.pem --ca-certificate ca/issuing-ca.pem --fleet-root ca/fleet-root.pem --ca exec:true
fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request request.pem --out out.pem
fleetroot-gateway crl import --home gw --environment production list.pem
END
}

@test "on a narrow terminal what is in work keeps to its line" {
  run -0 on_token dev-1 at_terminal -- bash -c 'stty cols 20 && exec "$@"' - \
    fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$(token_uri dev-1)"

  steps=$(tr '\033' '\n' <<<"$output" | sed -n 's/^\[K\(DEV-1  .*\)/\1/p')
  [[ $(wc -l <<<"$steps") == 10 && $steps == *$'\nDEV-1  step 7 of 10\n'* ]]
  [[ $output == *"PASS DEV-1  certificate "* ]]
  run ! grep '.\{20\}' <<<"$steps"
}
