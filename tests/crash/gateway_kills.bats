#!/usr/bin/env bats
# A gateway that is killed while devices join: whoever was told "joined" is in the registry, and nothing is half there.
load ../cli/factory
load ../cli/gateway
load fault

pki=$BATS_TEST_DIRNAME/../cli/software-pki

@test "kill -9 while devices join, six times: nobody who was answered is forgotten" {
  make_gateway
  mkdir factory
  "$pki" root factory "Fleet Root"
  fleetroot-gateway fleet-root add --home gw --environment production factory/root.pem
  for round in {1..6}; do
    for device in {1..4}; do "$pki" device factory "1FLEET-$round-$device" "dev-$round-$device"; done
    start_gateway
    clients=()
    for device in {1..4}; do
      { as "dev-$round-$device" production /whoami >"answer-$round-$device" 2>/dev/null || true; } 3>&- &
      clients+=($!)
    done
    # Somewhere in the middle: when the first has joined, or some have.
    wait_for has_logged '.event == "device.joined"'
    kill -9 "$gateway"
    wait "${clients[@]}"
  done

  devices_in production | jq -r .device_id | sort >registered
  for answer in answer-*; do jq -r .device_id "$answer" 2>/dev/null; done | sort >answered
  [[ -s answered ]]
  [[ -z $(comm -13 registered answered) ]]
  # Everybody comes in at last, the forgotten ones too, each once.
  start_gateway
  for round in {1..6}; do
    for device in {1..4}; do
      [[ $(as "dev-$round-$device" production /whoami | jq -r .device_id) == "1FLEET-$round-$device" ]]
    done
  done
  [[ $(devices_in production | wc -l) == 24 ]]
  [[ $(sqlite3 gw/registry.db 'PRAGMA integrity_check') == ok ]]
}

@test "a certificate that cannot be renewed as the gateway starts is renewed later, unless it has ended" {
  make_world
  export FLEETROOT_FAULT_PLAN=$PWD/plan
  preloaded=$fault_module:/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
  plan_fault fleetroot-gatew rename error 1 server.pem

  FAKETIME=+250d LD_PRELOAD=$preloaded start_gateway

  [[ -e plan.fired ]]
  grep 'the certificate of production is not renewed yet: .*server.pem' gw.err
  wait_for has_logged '.event == "server.renewed" and .environment == "production"'
  days_later 250 as dev production /whoami
  stop_gateway
  plan_fault fleetroot-gatew rename error 1 server.pem
  refused 74 'server.pem' env FAKETIME=+700d "LD_PRELOAD=$preloaded" fleetroot-gateway serve --home gw --listen production=127.0.0.1:0
}
