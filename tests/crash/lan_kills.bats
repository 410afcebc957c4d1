#!/usr/bin/env bats
# Front, signer and station die in the middle of exchanges over HTTPS: whoever is left goes on, one re-run finishes, and
# the order's count is exact.
load ../cli/factory
load ../cli/serve
load crash

# kill_after DELAY CHILD: in the background
kill_after() {
  {
    read -r -t "$1" <> <(:) || true
    kill -KILL "$(child "$2")" || true
  } >>kills 2>&1 3>&- &
  killer=$!
}

@test "kill -9 of front, signer and station at random moments" {
  make_factory C-{0..9}
  make_token C-{0..9}
  begin_serving
  start_random
  measure provision C-0 C-0 --ca "$url"

  hits=0
  for i in {1..9}; do
    draw_delay
    case $((i % 3)) in
      0) provision_under -s KILL "$delay" -- "C-$i" "C-$i" --ca "$url" ;;
      1) kill_after "$delay" front ;;
      2) kill_after "$delay" signer ;;
    esac
    if ((i % 3 != 0)); then
      # Whether it hears of it or not: the message is sent again, and the answer is the same.
      provision_under 60 -- "C-$i" "C-$i" --ca "$url"
      [[ $ended == 0 || $ended == 69 ]] || { cat runs && false; }
      wait "$killer"
    fi
    provision "C-$i" "C-$i" --ca "$url" >>runs 2>&1 || { cat runs serve.err && false; }
    whole "C-$i"
  done

  (($(grep -c 'is started again' serve.err) >= 3)) || { cat serve.err kills && false; }
  ledger_holds 10
  end_serving
}

@test "the front killed alone comes back, without a PIN and on the same port" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  mv ca/issuing-ca.pin elsewhere
  front=$(child front) signer=$(child signer)
  kill -KILL "$front"
  provision DEV-2 DEV-2 --ca "$url"
  [[ $(child front) != "$front" && $(child signer) == "$signer" ]]
  end_serving
}

@test "the signer killed alone comes back" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  kill -KILL "$(child signer)"
  provision DEV-1 DEV-1 --ca "$url"
  ledger_holds 1
  end_serving
}

@test "nobody outlives the server" {
  make_factory DEV-1
  begin_serving
  front=$(child front) signer=$(child signer)
  kill -KILL "$server"
  wait "$server" || true
  timeout 60 tail --pid="$front" -f /dev/null
  timeout 60 tail --pid="$signer" -f /dev/null
  # and what it has left is no obstacle
  begin_serving
  end_serving
}
