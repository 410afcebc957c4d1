#!/usr/bin/env bats
# Where --out FILE may point: what is there and is none of its business stays as it is.
load factory

# with_all_inputs: what each command of the CA that has --out needs
with_all_inputs() {
  make_factory DEV-1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout DEV-1.key -subj /CN=DEV-1 -out DEV-1.csr
  fleetroot-station init --home st-2 --name st-02
  fleetroot-ca init --home ca-2 --name "Second Factory" --external-root
}
# each_command COMMAND…: those words, and then a command that lacks --out's value
each_command() {
  "$@" fleetroot-ca station enroll --home ca --name st-02 --request st-2/station.csr --out
  "$@" fleetroot-ca station renew --home ca --name st-01 --out
  "$@" fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request DEV-1.csr --out
  "$@" fleetroot-ca root issue --home ca --request ca-2/issuing-ca.csr --out
  "$@" fleetroot-ca ledger export --home ca --order PO-1 --out
}

@test "no command replaces a file of the CA's home, by no way to it, nor changes anything" {
  with_all_inputs
  ln -s ca/issuing-ca.pem link
  ln -s ca elsewhere
  fleetroot-ca ledger verify --home ca >checkpoint
  find ca -type f ! -name 'ledger.db*' -exec sha256sum {} + >files
  into_home() {
    local file
    for file in ca/ledger.db "$PWD/ca/issuing-ca.pin" st/../ca/ca.toml elsewhere/profiles/device.toml link; do
      refused 64 'is a file of the home ca' "$@" "$file"
    done
  }

  each_command into_home

  sha256sum --check --quiet files
  fleetroot-ca ledger verify --home ca | diff checkpoint -
}

@test "no command replaces what it reads, nor a directory" {
  with_all_inputs
  fleetroot-ca ledger verify --home ca >checkpoint
  sha256sum st-2/station.csr DEV-1.csr ca-2/issuing-ca.csr >files
  into_directory() {
    refused 64 'st is a directory' "$@" st
  }
  into_nowhere() {
    refused 73 'cannot write nowhere/x' "$@" nowhere/x
  }

  ln -s st-2/station.csr link
  refused 64 'link is to be read' fleetroot-ca station enroll --home ca --name st-02 --request st-2/station.csr --out link
  refused 64 'DEV-1.csr is to be read' fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 \
    --request DEV-1.csr --out ./DEV-1.csr
  refused 64 'is to be read' fleetroot-ca root issue --home ca --request ca-2/issuing-ca.csr --out ca-2/issuing-ca.csr
  each_command into_directory
  each_command into_nowhere

  sha256sum --check --quiet files
  fleetroot-ca ledger verify --home ca | diff checkpoint -
}

@test "a pipe is written to and stays, and a link to a file too" {
  with_all_inputs
  mkfifo pipe
  ln -s there link
  ln -s /proc/self/fd/1 standard-output
  written() {
    : >there
    cat pipe >from-pipe &
    "$@" pipe
    wait
    "$@" link
    "$@" standard-output | head --bytes "$(stat --format %s from-pipe)" >from-stdout
    { echo "first"; "$@" standard-output; } >all
    [[ -p pipe && -L link && -L standard-output ]]
    [[ -s from-pipe && -s there && -s from-stdout && $(head -n 1 all) == "first" && $(wc -l <all) -gt 2 ]]
    if [[ "$*" != *ledger* ]]; then diff from-pipe there && diff from-pipe from-stdout; fi
  }

  each_command written
}
