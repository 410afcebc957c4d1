#!/usr/bin/env bats
# A stick that is pulled, a disk that is full, a process that is killed, at every call that changes a file: nothing on the
# stick is half a bundle, the same command again goes on from what is there, and no device is answered twice differently.
# Meson runs each test for itself.
load ../cli/factory
load fault

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory D-1 D-2
  make_token D-1 D-2
  provision_all
  cat ca/fleet-root.pem ca/issuing-ca.pem >trust.pem
  traced=()
  : >runs
}

teardown() {
  tell_moment
}

provision_all() {
  for device in D-1 D-2; do provision "$device" "$device" --ca media:queue; done
}
# Under `traced`, if there is something.
export_it() { "${traced[@]}" fleetroot-station media export --home st --queue queue --out stick; }
process_it() { "${traced[@]}" fleetroot-ca media process --home ca stick; }
import_it() { "${traced[@]}" fleetroot-station media import --home st --queue queue stick; }

bundles_in() {
  find "$1" -name '*.request' -o -name '*.response' 2>/dev/null | sort
}

# What a bundle says, if openssl believes it.
content() {
  openssl cms -verify -binary -inform DER -in "$1" -CAfile trust.pem -purpose any 2>>runs
}

# as_before DIRECTORY: what somebody could read there is on the stick in the same bytes
as_before() {
  local file
  for file in $(bundles_in "$1"); do cmp "$file" "stick/${file##*/}"; done
}

# Whatever lies on the stick under a bundle's name is a whole one: the old one, or one that openssl verifies.
nothing_is_half() {
  local file
  as_before before/stick
  for file in $(bundles_in stick); do
    [[ -e before/$file ]] || content "$file" >/dev/null
  done
}

# What has been answered waits no more, and nobody's half-written file stays behind.
nothing_is_left_over() {
  [[ -z $(find queue -type f; find ca st stick -name '*.tmp') ]]
}

# What each device was given, by the ledger, in the journal and on the stick: the names, and all certificates in
# hexadecimal.
in_ledger() {
  sqlite3 -readonly ca/ledger.db "SELECT group_concat(subject), group_concat(certificate, '') FROM (SELECT subject,
    certificate FROM certificates WHERE kind = 'device' AND certificate <> '' ORDER BY subject)"
}
in_journal() {
  sqlite3 -readonly st/journal.db "SELECT group_concat(device_id), group_concat(certificate, '') FROM (SELECT device_id,
    certificate FROM media_requests UNION SELECT device_id, certificate FROM devices WHERE state <> 'planned' ORDER BY 1)"
}
on_stick() {
  content stick/st-01.000001.response | jq -r '(.answers | map(.device_id) | join(",")), .answers[].certificate' | {
    read -r names
    echo "$names|$(base64 -d | od -A n -t x1 -v | tr -d ' \n')"
  }
}
bundles() {
  sqlite3 -readonly "$1" "SELECT sequence, digest FROM $2 ORDER BY 1"
}

# What waits at the station: for its turn, or for an answer.
what_waits() {
  sqlite3 -readonly st/journal.db "SELECT 'request', device_id FROM media_requests WHERE certificate = ''" \
    "SELECT 'receipt', device_id FROM media_receipts" \
    "SELECT 'bundle', sequence FROM media_bundles WHERE answered_at = ''"
}

# answered CONFIRMED: each device has one certificate, which is what its station was told, and nothing waits
answered() {
  local ledger order
  ledger=$(in_ledger)
  order=$(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued, .confirmed, (.missing | length)]')
  [[ $order == "[2,2,$1,0]" ]]
  [[ ${ledger%%|*} == D-1,D-2 ]]
  [[ $(on_stick) == "$ledger" ]]
  [[ $(in_journal) == "$ledger" ]]
  [[ -z $(what_waits) ]]
  [[ $(bundles ca/ledger.db bundles) == "$(bundles st/journal.db media_bundles)" ]]
  fleetroot-ca ledger verify --home ca >>runs
}

# One line a certificate, for comm.
certificates() {
  sqlite3 -readonly ca/ledger.db "SELECT certificate FROM certificates WHERE certificate <> '' ORDER BY 1"
}

keep_state() {
  rm -rf before
  mkdir -p before stick
  cp -a ca st queue stick before/
}
restore_state() {
  rm -rf ca st queue stick
  cp -a before/* .
}

# count_moments COMMAND: in `calls`, the calls that it makes undisturbed
count_moments() {
  plan_fault any "$changes" kill 0
  under_fault "$1" >>runs 2>&1
  mapfile -t calls < <(cut -d ' ' -f 4- plan.calls)
  restore_state
}

# is_moment_of FAULT NUMBER: half of something can only be written. SQLite's pages are many and alike: the first and the
# last of a row, and every sixth between them; half of every eleventh.
is_moment_of() {
  local call=${calls[$2 - 1]} before=pwrite64 after=${calls[$2]:-}
  (($2 == 1)) || before=${calls[$2 - 2]}
  case $call in
    pwrite64*)
      [[ $1 != half-* ]] || return $(($2 % 11 != 0))
      [[ $before != pwrite64* || $after != pwrite64* ]] || return $(($2 % 6 != 0))
      ;;
    *) [[ $1 != half-* || $call == write* ]] ;;
  esac
}

# at_every_moment CONFIRMED COMMAND REST…: the command meets each fault at each of its calls, and once more none if it has
# failed; then comes the rest of the journey. Afterwards all is as it was.
at_every_moment() {
  local fault number status told rest hits=0 tolerated=0
  keep_state
  count_moments "$2"
  for fault in kill error half-kill half-full; do
    for ((number = 1; number <= ${#calls[@]}; ++number)); do
      is_moment_of "$fault" "$number" || continue
      moment="$2, $fault at call $number of ${#calls[@]}, ${calls[number - 1]}"
      echo "== $moment" >>runs
      plan_fault any "$changes" "$fault" "$number"
      status=0
      # The shell reports a killed child on stderr.
      { under_fault "$2" || status=$?; } >>runs 2>&1
      [[ -e plan.fired ]]
      [[ $fault != *kill || $status == 137 ]]
      nothing_is_half
      rm -rf seen && cp -a stick seen
      told=$(certificates)
      # Who ends well has done all of it.
      if ((status == 0)); then
        ((++tolerated))
      else
        "$2" >>runs 2>&1
      fi
      for rest in "${@:3}"; do "$rest" >>runs 2>&1; done
      as_before seen
      [[ -z $(comm -23 <(echo "$told") <(certificates)) ]]
      answered "$1"
      nothing_is_left_over
      ((++hits))
      restore_state
    done
  done
  echo "# ${2%_it}: $hits faults at ${#calls[@]} calls, $tolerated without consequence" >&3
  ((hits > 0))
}

# The stick's own calls are among those that were counted.
on_stick_too() {
  [[ $(printf '%s\n' "${calls[@]}" | grep -c "stick/$1") == 3 ]]
}

end_well() {
  local device
  [[ $(export_it) == "nothing waits to be exported" ]]
  [[ $(certificates_in_ledger) == 2 ]]
  for device in D-1 D-2; do
    [[ $(provision "$device" "$device" --ca media:queue --json | tail -n 1 | jq -r .result) == already ]]
    on_token "$device" fleetroot-station verify --home st --device-id "$device" --token "$(token_uri "$device")"
  done
}

@test "first: a bundle of requests, its answer and the way back" {
  at_every_moment 0 export_it process_it import_it
  on_stick_too st-01.000001.request
  export_it
  at_every_moment 0 process_it import_it
  on_stick_too st-01.000001.response
  process_it
  at_every_moment 0 import_it
  import_it
  provision_all
  export_it && process_it && import_it
  answered 2
  end_well
}

@test "second: a bundle of receipts, while the one before is answered again" {
  export_it && process_it && import_it
  provision_all
  at_every_moment 2 export_it process_it import_it
  export_it
  at_every_moment 2 process_it import_it
  process_it
  at_every_moment 2 import_it
  import_it
  answered 2
  end_well
}

@test "lost: a bundle and an answer come back in the same bytes" {
  export_it
  process_it
  cp -a stick first
  rm stick/*
  at_every_moment 0 export_it process_it import_it
  export_it
  as_before first/st-01.000001.request
  at_every_moment 0 process_it import_it
  process_it
  as_before first
}

# What the C library writes for others, SoftHSM above all, is no call that can be preloaded: these are strace's.
@test "token: a write of the token's own fails, or is the last" {
  local command fault number writes status
  for command in export_it process_it; do
    keep_state
    traced=(strace -qqq -o trace -e trace=write)
    "$command" >>runs
    writes=$(grep -c ^write trace)
    for fault in signal=KILL error=EIO; do
      for ((number = 1; number <= writes; ++number)); do
        restore_state
        moment="$command, $fault at write $number of $writes"
        traced=(strace -qqq -o trace -e trace=write -e "inject=write:$fault:when=$number")
        status=0
        { "$command" || status=$?; } >>runs 2>&1
        grep -q 'INJECTED\|killed by SIGKILL' trace
        nothing_is_half
        rm -rf seen && cp -a stick seen
        traced=()
        ((status == 0)) || "$command" >>runs 2>&1
        [[ $command == process_it ]] || process_it >>runs
        import_it >>runs
        as_before seen
        answered 0
      done
    done
    restore_state
    "$command"
  done
}
