#!/usr/bin/env bash
# From nothing to a web server in a container: installs what is missing, builds ferry, starts it, runs the built-in image
# ferry/welcome, and fetches its page. Where a registry answers, it pulls and runs nginx, too.
# usage: scripts/demo.sh [PORT]     (root, Debian or Ubuntu)
cd "$(dirname "$0")/.."
. scripts/prepare.sh

PORT=${1:-8080}
prepare_rust

say "Building ferry (the first time takes a few minutes)"
cargo build --release --package ferry --target "$FERRY_TARGET"
FERRY="$PWD/target/$FERRY_TARGET/release/ferry"
ls -lh "$FERRY" | awk '{print "one static binary of " $5 ": " $9}'

# shown CMD…: prints a command as the user would type it, and runs it.
shown() { printf '\033[36m$ ferry %s\033[0m\n' "$*"; "$FERRY" "$@"; }

say "Running the built-in image on port $PORT (the daemon starts by itself)"
"$FERRY" rm -f welcome >/dev/null 2>&1 || true
shown run -d --name welcome -p "$PORT:80" -m 64m ferry/welcome
shown ps
say "Fetching http://localhost:$PORT/"
for _ in $(seq 50); do curl -fsS "http://localhost:$PORT/plain" 2>/dev/null && break; sleep 0.1; done
curl -fsS -o /dev/null "http://localhost:$PORT/" || { "$FERRY" logs welcome; exit 1; }

if curl -s -o /dev/null --max-time 5 https://registry-1.docker.io/v2/; then
  say "A registry answers: pulling nginx"
  "$FERRY" rm -f demo-nginx >/dev/null 2>&1 || true
  shown run -d --name demo-nginx -p "$((PORT + 1)):80" nginx
  for _ in $(seq 50); do curl -fsS "http://localhost:$((PORT + 1))/" 2>/dev/null | head -4 && break; sleep 0.1; done
fi

cat <<END

What to try next (put it on your path first: ln -s $FERRY /usr/local/bin/ferry):
  ferry logs -f welcome                          who fetched the page
  ferry exec welcome /ferry welcome --show       run something inside
  ferry stop welcome && ferry start welcome      the page comes back
  docker -H unix:///run/ferry/ferry.sock ps      the real docker command line
  ferry rm -f welcome && kill \$(cat /run/ferry/ferry.pid)    when you have seen enough
END
