# What users and developers of Elika run. `make` alone lists it.

ARGS ?=
BENCH ?=
FUZZ_SECONDS ?= 60
SERVERS ?=

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: build
build: ## build target/release/elika-proxy
	cargo build --release --locked

.PHONY: static
static: ## build target/static/elika-proxy, which needs no library, for images FROM scratch
	@scripts/build-static

.PHONY: run-local
run-local: ## run the proxy and, if there is none, a Redis: make run-local ARGS="--port=7000"
	@scripts/run-local $(ARGS)

.PHONY: run-cluster
run-cluster: ## run the proxy and a Redis Cluster of three primaries and three replicas
	@scripts/run-cluster $(ARGS)

.PHONY: test
test: ## run the tests that need only this machine
	@scripts/need-redis
	cargo test --locked --no-fail-fast

.PHONY: test-servers
test-servers: ## run the tests against Valkey and other Redis versions: make test-servers SERVERS=valkey-9.1
	@scripts/test-servers $(SERVERS)

.PHONY: compat
compat: build ## run the suites of servers, client libraries and job queues, direct and through the proxy
	tests/compat/redis-suite/run --all
	tests/compat/redis-py/run
	tests/compat/node/run
	tests/compat/queues/run
	tests/compat/queues/run --cluster
	tests/compat/cluster/run

.PHONY: compat-subset
compat-subset: build ## run the part of the servers' own test suites that is about connections
	tests/compat/redis-suite/run --subset
	tests/compat/redis-suite/run --subset --server valkey-9.1
	tests/compat/redis-suite/run --subset --server redis-8.2

.PHONY: static-test
static-test: static ## run the static program alone in an empty root
	tests/static/run

.PHONY: lint
lint: ## check format, lints and documentation
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
		cargo doc --locked --no-deps --document-private-items

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZ_SECONDS (60)
	@scripts/fuzz $(FUZZ_SECONDS)

.PHONY: bench
bench: build ## compare with other proxies: make bench BENCH="--quick --only=elika,haproxy"
	@scripts/build-static || echo "no static program: its start is not measured anew"
	benches/run $(BENCH)

.PHONY: clean
clean: ## delete what was built
	cargo clean
	rm -rf fuzz/target
