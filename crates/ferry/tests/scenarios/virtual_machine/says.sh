# What scripts of virtual machines say: "ok NAME" or "FAIL NAME: WHY" for each thing that must be true.

# same NAME WANTED SEEN
same() { [ "$2" = "$3" ] && echo "ok $1" || echo "FAIL $1: expected <$2>, seen <$3>"; }
# true_that NAME COMMAND…
true_that() { name=$1; shift; "$@" >/tmp/out 2>&1 && echo "ok $name" || echo "FAIL $name: $(tail -n 12 /tmp/out | tr '\n' ' ')"; }
# settled COMMAND WANTED: what it says when that is what is wanted, or after ten seconds.
settled() { n=0; until [ "$(eval "$1")" = "$2" ] || [ $n -ge 100 ]; do n=$((n + 1)); sleep 0.1; done; eval "$1"; }
# listens SOCKET: the daemon does, after a while. A command line would start a daemon of its own, if it came too early.
listens() { n=0; until [ -S "$1" ] || [ $n -ge 600 ]; do n=$((n + 1)); sleep 0.1; done; [ -S "$1" ]; }
# scenario NAME: one of Kubernetes' runtime interface is there, ran against the engine that FERRY_TEST_CRI names, and passed.
scenario() { RUST_BACKTRACE=0 scenarios --exact "cri::$1" >/tmp/said 2>&1; grep -A 3 'SKIPPED\|panicked at' /tmp/said | head -n 4; grep -q '1 passed' /tmp/said && ! grep -q SKIPPED /tmp/said; }
