#!/usr/bin/env bats
# A stick that is pulled, a disk that is full, a process that is killed, at every moment that matters: nothing on the
# stick is half a bundle, and the same command again goes on. The moments are system calls, which strace lets fail.
load ../cli/factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory D-1 D-2
  make_token D-1 D-2
  for device in D-1 D-2; do provision "$device" "$device" --ca media:queue; done
}

export_it() { fleetroot-station media export --home st --queue queue --out stick; }
process_it() { fleetroot-ca media process --home ca stick; }
import_it() { fleetroot-station media import --home st --queue queue stick; }

# with_fault FAULT CALL NUMBER COMMAND: the command, whose system call of that name and number ends with FAULT
with_fault() {
  case $4 in
    export_it) set -- "$1" "$2" "$3" fleetroot-station media export --home st --queue queue --out stick ;;
    process_it) set -- "$1" "$2" "$3" fleetroot-ca media process --home ca stick ;;
    import_it) set -- "$1" "$2" "$3" fleetroot-station media import --home st --queue queue stick ;;
  esac
  # The shell reports a killed child on stderr.
  { strace -f -qqq -o /dev/null -e "trace=$2" -e "inject=$2:$1:when=$3" "${@:4}"; } >>runs 2>&1
}

# Whatever lies on the stick under a bundle's name is a whole one: openssl verifies it.
nothing_is_half() {
  local file
  cat ca/fleet-root.pem ca/issuing-ca.pem >trust.pem
  for file in stick/*.request stick/*.response; do
    [[ ! -e $file ]] || openssl cms -verify -binary -inform DER -in "$file" -CAfile trust.pem -purpose any \
      -out /dev/null 2>>runs || { echo "half a bundle: $file" && return 1; }
  done
}

# at_every FAULT CALL COMMAND: for each such call that the command makes; adds to $hits
at_every() {
  local number=0 status
  while ((++number)); do
    rm -rf before && mkdir before
    cp -a ca st queue before/
    [[ ! -d stick ]] || cp -a stick before/
    status=0
    with_fault "$1" "$2" "$number" "$3" || status=$?
    nothing_is_half || { echo "$3, $1 at $2 number $number" && return 1; }
    # The command has met no fault: it makes no more such calls.
    ((status != 0)) || break
    ((++hits))
    "$3" >>runs 2>&1 || { echo "$3 does not go on after $1 at $2 number $number" && cat runs && return 1; }
    nothing_is_half
    # and from the beginning again, to the next one
    rm -rf ca st queue stick && mv before/* .
  done
  rm -rf ca st queue stick && mv before/* .
}

# at_every_moment FAULT COMMAND: and then the command, undisturbed
at_every_moment() {
  local call hits=0
  for call in fsync fdatasync rename write; do at_every "$1" "$call" "$2"; done
  "$2"
  echo "# $2: $hits moments of $1" >&3
  ((hits >= 4))
}

all_is_well() {
  local device
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued]') == "[2,2]" ]]
  [[ $(fleetroot-ca cert list --home ca --json | wc -l) == 2 ]]
  for device in D-1 D-2; do
    [[ $(provision "$device" "$device" --ca media:queue --json | tail -n 1 | jq -r .result) == pass ]]
    on_token "$device" fleetroot-station verify --home st --device-id "$device" --token "$(token_uri "$device")"
  done
  export_it && process_it && import_it
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq .confirmed) == 2 ]]
  fleetroot-ca ledger verify --home ca
}

@test "kill -9 at every moment" {
  at_every_moment signal=KILL export_it
  at_every_moment signal=KILL process_it
  at_every_moment signal=KILL import_it
  all_is_well
}

@test "the stick is pulled, or full, at every moment" {
  at_every_moment error=EIO export_it
  at_every_moment error=EIO process_it
  at_every_moment error=EIO import_it
  all_is_well
}

@test "an answer that was seen is the answer for ever, whatever the CA met meanwhile" {
  export_it
  process_it
  first=$(sha256sum stick/st-01.000001.response)
  for number in 1 2 3 4 5 6; do
    rm stick/st-01.000001.response
    with_fault signal=KILL fsync "$number" process_it || true
    process_it
    [[ $(sha256sum stick/st-01.000001.response) == "$first" ]]
  done
}
