#!/usr/bin/env bash
# Installs the backends and the OpenClaw of the integration tests into $INTEGRATION_HOME (default: .cache/integration in
# this repository). Skips what is already installed, so a second call is quick.
#
#   test/integration/install.sh                       installs all of them
#   test/integration/install.sh clawmetry collector   installs these two
#
# `clawmetry-otel` is ClawMetry with its extra for protobuf; `compose` reads compose files and Dockerfiles as Docker does.
# Needs python3 for ClawMetry, npm for OpenClaw (0.8 GB), and Go for the others, which are built from their modules in some
# minutes.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
home="${INTEGRATION_HOME:-$here/../../.cache/integration}"
mkdir -p "$home/bin"
home="$(cd "$home" && pwd)"

clawmetry_version=0.12.937
jaeger_version=v1.76.0
prometheus_version=v0.313.0
collector_version=v0.159.0
openclaw_version=2026.9.6

# Static and stripped: the build needs nothing but Go, and linking takes half the time.
export CGO_ENABLED=0 GOWORK=off GOFLAGS="-buildvcs=false -trimpath"

# A build directory that is removed at the end in any case: only complete results are moved to their place.
build="$(mktemp -d)"
trap 'chmod -R u+w "$build"; rm -rf "$build"' EXIT

install_clawmetry() { install_from_pypi clawmetry "clawmetry==$clawmetry_version"; }
install_clawmetry-otel() { install_from_pypi clawmetry-otel "clawmetry[otel]==$clawmetry_version"; }

# install_from_pypi NAME REQUIREMENT
install_from_pypi() {
  [ -x "$home/$1/bin/clawmetry" ] && return
  # A virtual environment has its own path written into it, so it can't be moved: a broken one is created again in place.
  python3 -m venv --clear "$home/$1"
  "$home/$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
}

install_jaeger() { build_module jaeger "github.com/jaegertracing/jaeger@$jaeger_version"; }
install_prometheus() { build_module prometheus "github.com/prometheus/prometheus@$prometheus_version"; }

# build_module NAME MODULE@VERSION builds the module's command NAME. 'go install' refuses the replace directives in go.mod.
build_module() {
  [ -x "$home/bin/$1" ] && return
  local module
  module="$(go mod download -json "$2" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')"
  cp -r "$module" "$build/$1"
  chmod -R u+w "$build/$1"
  (cd "$build/$1" && go build -ldflags '-s -w' -o "$build/$1.bin" "./cmd/$1")
  mv "$build/$1.bin" "$home/bin/$1"
}

install_collector() {
  # An earlier build may lack a component.
  [ -x "$home/bin/otelcol" ] && cmp -s "$here/collector-build.yaml" "$home/bin/otelcol.yaml" && return
  (cd "$build" && go run "go.opentelemetry.io/collector/cmd/builder@$collector_version" --config "$here/collector-build.yaml")
  mv "$build/otelcol/otelcol" "$home/bin/otelcol"
  cp "$here/collector-build.yaml" "$home/bin/otelcol.yaml"
}

install_compose() {
  [ -x "$home/bin/container-check" ] && return
  (cd "$here/container-check" && go build -ldflags '-s -w' -o "$build/container-check" .)
  mv "$build/container-check" "$home/bin/container-check"
}

# With a Node 24 of its own, which it needs to run, and without its install scripts, which refuse an older Node.
install_openclaw() {
  [ -x "$home/bin/openclaw" ] && return
  local node
  node="node-$(node -p 'process.platform + "-" + process.arch')"
  npm install --no-save --no-audit --no-fund --loglevel=error --ignore-scripts --prefix "$home/openclaw" \
    "$node@24" "openclaw@$openclaw_version"
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$home/openclaw/node_modules/$node/bin/node" \
    "$home/openclaw/node_modules/openclaw/openclaw.mjs" >"$build/openclaw"
  chmod +x "$build/openclaw"
  mv "$build/openclaw" "$home/bin/openclaw"
}

known=(clawmetry clawmetry-otel jaeger prometheus collector compose openclaw)
[ $# -gt 0 ] || set -- "${known[@]}"
for name in "$@"; do
  case " ${known[*]} " in
    *" $name "*) ;;
    *) echo "unknown backend: $name (known: ${known[*]})" >&2; exit 2 ;;
  esac
  echo "$name: installing in $home"
  "install_$name"
  echo "$name: installed"
done
