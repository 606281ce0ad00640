# Everything a person or CI runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One profile for tests, images, demo and benchmarks: what is tested and measured is what is shipped.
PROFILE ?= release
HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
# Static binaries: the images hold nothing else. An explicit --target keeps the flag off proc macros.
export CARGO_TARGET_$(shell echo $(HOST) | tr 'a-z-' 'A-Z_')_RUSTFLAGS := -C target-feature=+crt-static
CARGO_TARGET_DIR ?= target
BUILD   := --profile $(PROFILE) --target $(HOST)
BIN     := $(CARGO_TARGET_DIR)/$(HOST)/$(subst dev,debug,$(PROFILE))

.PHONY: help demo test verify fix generate images bench kube-up kube-down test-kube tools

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: ## build the three programs
	cargo build $(BUILD) --bins

demo: build ## three members on this machine, run by the operator; edit replicas and watch
	$(BIN)/kvorum-operator local -f manifests/samples/three-members.yaml --server-binary $(BIN)/kvorum

test: tools ## every test that needs neither root nor Kubernetes
	cargo test $(BUILD) --lib --bins $(addprefix --test ,$(TESTS))

verify: ## read-only checks: format, lints, documents, generated files
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items -q
	if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; fi

fix: generate ## format and rewrite what is generated
	cargo fmt
	cargo clippy --fix --allow-dirty --allow-staged --all-targets

tools: ## real etcd, etcdctl and etcdutl, the yardstick of the tests
	tests/tools/install.sh etcd

kube-up: ## a real Kubernetes with three nodes on this machine (root)
	tests/kube/up.sh

kube-down: ## remove every trace of it
	tests/kube/down.sh
