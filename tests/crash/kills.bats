#!/usr/bin/env bats
# kill -9 at any moment, twice a device: one re-run finishes, with nothing left over. Meson runs this file several times
# at once, each with other devices; FLEETROOT_CRASH_PART is the number of the run.
load ../cli/factory
load crash

# A run that was faster than the kill has passed (124: it ended while the kill was on its way, and timeout noticed);
# nothing else may have happened.
tally_kill() {
  [[ $ended == 0 || $ended == 137 || ($ended == 124 && $(grep -c "^PASS $device " runs) != 0) ]] || { cat runs && false; }
  hits=$((hits + (ended == 137)))
}

@test "kill -9 of everything, then of the station alone, at random moments" {
  part=${FLEETROOT_CRASH_PART:-1}
  make_factory_of "K$part" 10
  start_random "$part"
  measure provision_on_order_0 "K$part-0"

  hits=0
  for device in "${devices[@]}"; do
    draw_delay
    # timeout kills its process group: the station, its key process and the CA
    provision_under -s KILL "$delay" -- "$device" "$device"
    tally_kill
    draw_delay
    provision_under --foreground -s KILL "$delay" -- "$device" "$device"
    tally_kill
    finishes "$device"
  done

  echo "# $hits of 20 runs were killed" >&3
  ((hits >= 3))
  ledger_holds 10
}
