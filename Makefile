# The front door: `make help` lists what there is. Each target says what it does and installs what it needs beyond a Rust
# toolchain and python3, under SELVEDGE_CACHE.

SELVEDGE_CACHE ?= $(HOME)/.cache/selvedge
CARGO_TARGET_DIR ?= $(SELVEDGE_CACHE)/target
export SELVEDGE_CACHE CARGO_TARGET_DIR

# Rust crates are always built for the whole workspace at once: other selections may give a dependency
# other features, and then half the engine is built twice.

CARGO ?= cargo
SF ?= 10
SEEDS ?= 200
BENCH_FLAGS ?=

.PHONY: help demo build tools test unit e2e chaos tidy lint fmt bench bench-build bench-chaos bench-s3 bench-memory cluster clean-cache

help: ## Lists the targets.
	@echo "Selvedge. Targets:"
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | \
		awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'
	@echo
	@echo "Builds go to     CARGO_TARGET_DIR = $(CARGO_TARGET_DIR)"
	@echo "Tools and data   SELVEDGE_CACHE   = $(SELVEDGE_CACHE)"

demo: ## Builds Selvedge, generates sample data, runs a real ETL job on it, shows the result.
	@scripts/step.sh "Build (nothing optimised; the first time takes about ten minutes)" \
		$(CARGO) build --locked --profile demo --package selvedge-cli
	@scripts/step.sh "Demo" $(CARGO_TARGET_DIR)/demo/selvedge demo

build: ## Builds every binary and test.
	@scripts/step.sh "Build" $(CARGO) build --locked --workspace --bins --tests

tools: ## Installs SeaweedFS, microburst, DuckDB and pyarrow into the cache.
	@scripts/step.sh "Tools" scripts/tools.sh

test: tools build ## Runs all tests: unit, rules of the house, end-to-end on a real cluster and a real S3 server.
	@scripts/step.sh "Tests" $(CARGO) test --locked --workspace $(CARGO_TEST_FLAGS)

unit: ## Runs the unit tests alone.
	@scripts/step.sh "Unit tests" $(CARGO) test --locked --workspace --lib --bins

e2e: tools build ## Runs the end-to-end tests alone; ONLY=name picks some.
	@scripts/step.sh "End-to-end tests" $(CARGO) test --locked --workspace --test e2e -- $(ONLY)

chaos: tools build ## Runs SEEDS (default 200) seeded schedules of faults on real clusters; SEED=n replays one.
	@SELVEDGE_CHAOS_SEEDS=$(SEEDS) SELVEDGE_CHAOS_SEED=$(SEED) scripts/step.sh "Chaos" \
		$(CARGO) test --locked --workspace --test e2e -- chaos --nocapture --include-ignored

tidy: ## Checks the rules of the house: dependencies between crates, purity, file sizes.
	@scripts/step.sh "Rules of the house" $(CARGO) test --locked --workspace --test tidy

fmt: ## Formats the code.
	@$(CARGO) fmt --all

lint: ## Checks formatting, clippy's lints and, with cargo-deny installed, licences and advisories.
	@scripts/step.sh "Format" $(CARGO) fmt --all --check
	@scripts/step.sh "Clippy" $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then \
		scripts/step.sh "Licences, duplicates, sources" $(CARGO) deny --offline check licenses bans sources; \
	else \
		echo "cargo-deny is not installed: licences are not checked (cargo install --locked cargo-deny)"; \
	fi

bench-build: tools
	@scripts/step.sh "Release build (half an hour the first time on two cores)" \
		$(CARGO) build --locked --release --workspace --bins

bench: bench-build ## TPC-H at SF (default 10) beside single-process DataFusion, then the ETL write. Flags: BENCH_FLAGS.
	@scripts/step.sh "TPC-H SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench tpch --sf $(SF) $(BENCH_FLAGS)
	@scripts/step.sh "ETL write SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench etl --sf $(SF) $(BENCH_FLAGS)
	@scripts/step.sh "Managed tables SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench tables --sf $(SF) $(BENCH_FLAGS)

bench-chaos: bench-build ## TPC-H at SF on four executors, some killed half way: what runs again, whether all is right.
	@scripts/step.sh "Lost executors SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench chaos --sf $(SF) $(BENCH_FLAGS)

bench-s3: bench-build ## TPC-H at SF with each durability of shuffle files on S3: times and requests.
	@scripts/step.sh "Durability SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench durability --sf $(SF) $(BENCH_FLAGS)

bench-memory: bench-build ## TPC-H and the ETL write at SF by executors held to 1 GiB, beside the same with 4 GiB.
	@scripts/step.sh "Little memory SF$(SF)" $(CARGO_TARGET_DIR)/release/selvedge-bench memory --sf $(SF) $(BENCH_FLAGS)

cluster: tools build ## Starts SeaweedFS, a scheduler and two executors on this machine; Ctrl-C ends them.
	@scripts/cluster.sh

clean-cache: ## Removes the cache: tools, generated data and, by default, the target directory.
	@echo "This removes $(SELVEDGE_CACHE)"
	@rm -rf -- "$(SELVEDGE_CACHE)"
