#!/usr/bin/env bash
# A cluster to try things on: SeaweedFS, one scheduler and two executors as processes on this machine. Ctrl-C ends them all.
# Ports and the data directory can be set; see below. `make cluster` builds and installs what this needs first.
set -eu

cache=${SELVEDGE_CACHE:-$HOME/.cache/selvedge}
target=${CARGO_TARGET_DIR:-$cache/target}
bin=${SELVEDGE_BIN:-$target/debug/selvedge}
dir=${CLUSTER_DIR:-$cache/cluster}
s3=${CLUSTER_S3_PORT:-18333}
grpc=${CLUSTER_PORT:-50050}
http=${CLUSTER_HTTP_PORT:-50080}
executors=${CLUSTER_EXECUTORS:-2}
bucket=selvedge

mkdir -p "$dir/s3"
printf '%s' '{"identities":[{"name":"dev","credentials":[{"accessKey":"DEV","secretKey":"DEVSECRET"}],
"actions":["Admin","Read","Write","List","Tagging"]}]}' >"$dir/s3.json"

pids=""
stop() {
  trap - EXIT INT TERM
  echo
  echo "Stopping; the data stays in $dir"
  # SeaweedFS takes 20 seconds to end when asked; its data is safe without.
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
}
trap stop EXIT INT TERM

await() { # URL WHAT LOG
  for _ in $(seq 300); do
    if curl -fsS -o /dev/null "$1" 2>/dev/null; then return 0; fi
    sleep 0.2
  done
  echo "$2 does not answer; the end of $3:" >&2
  tail -n 20 "$3" >&2
  exit 1
}

"$cache/python/bin/weed" server "-dir=$dir/s3" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
  -master.volumeSizeLimitMB=1024 -volume.max=1000 -volume.preStopSeconds=0 -filer -s3 "-s3.port=$s3" "-s3.config=$dir/s3.json" \
  -s3.allowDeleteBucketNotEmpty=false -s3.port.iceberg=0 -s3.port.lance=0 "-master.port=$((s3 + 1))" \
  "-volume.port=$((s3 + 2))" "-filer.port=$((s3 + 3))" >"$dir/s3.log" 2>&1 &
pids="$pids $!"
await "http://127.0.0.1:$s3/healthz" SeaweedFS "$dir/s3.log"
curl -fsS -o /dev/null -X POST "http://127.0.0.1:$((s3 + 3))/buckets/$bucket/"

# Settings of make and of the tests are none of Selvedge's.
unset SELVEDGE_CACHE SELVEDGE_BIN
export AWS_ENDPOINT_URL=http://127.0.0.1:$s3 AWS_ACCESS_KEY_ID=DEV AWS_SECRET_ACCESS_KEY=DEVSECRET AWS_REGION=us-east-1
export SELVEDGE_SHUFFLE=s3://$bucket/shuffle

"$bin" scheduler --listen "127.0.0.1:$grpc" --http "127.0.0.1:$http" --warehouse "s3://$bucket/warehouse" \
  --store "sqlite:$dir/scheduler.db" \
  >"$dir/scheduler.log" 2>&1 &
pids="$pids $!"
await "http://127.0.0.1:$http/healthz" "The scheduler" "$dir/scheduler.log"
for n in $(seq "$executors"); do
  mkdir -p "$dir/executor-$n"
  "$bin" executor --scheduler "http://127.0.0.1:$grpc" --vcores 1 --memory 2GiB --work-dir "$dir/executor-$n" \
    >"$dir/executor-$n.log" 2>&1 &
  pids="$pids $!"
done

cat <<END
The cluster runs: 1 scheduler, $executors executors, bucket s3://$bucket. Logs and data: $dir

In another shell:
  export SELVEDGE_SCHEDULER=http://127.0.0.1:$grpc
  $bin executors list
  $bin sql -c "CREATE TABLE t AS SELECT 42 AS answer; SELECT * FROM t"
  curl http://127.0.0.1:$http/metrics
To read and write the bucket with other tools:
  export AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID=DEV AWS_SECRET_ACCESS_KEY=DEVSECRET AWS_REGION=us-east-1

Ctrl-C ends it.
END
# Ends with the first of them that ends.
wait -n
echo "A process of the cluster has ended; see the logs in $dir" >&2
exit 1
