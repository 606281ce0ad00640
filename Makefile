# Everything a person or CI runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One profile for tests, images, demo and benchmarks: what is tested and measured is what is shipped.
PROFILE ?= release
HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
CARGO_TARGET_DIR ?= target
# Static binaries: the images hold nothing else. An explicit target keeps the flag off proc macros.
STATIC  := target.$(HOST).rustflags=["-C","target-feature=+crt-static"]
BUILD   := --profile $(PROFILE) --target $(HOST) --config '$(STATIC)'
BIN     := $(CARGO_TARGET_DIR)/$(HOST)/$(subst dev,debug,$(PROFILE))
IMAGES  := $(abspath $(CARGO_TARGET_DIR))/images
TOOLS   := $(or $(KVORUM_TOOLS_BIN),$(HOME)/.cache/kvorum-tools/bin)
SCRIPTS := $(wildcard tests/*/*.sh tests/tools/*/*.sh manifests/*.sh manifests/images/*.sh)

.PHONY: help build demo test test-differential verify fix generate images bench kube-up kube-down test-kube tools

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: ## build the three programs
	cargo build $(BUILD) --bins

demo: build ## three members on this machine, run by the operator; edit replicas and watch
	$(BIN)/kvorum-operator local -f manifests/samples/three-members.yaml --server-binary $(BIN)/kvorum

test: tools ## every test that needs neither root nor Kubernetes
	cargo test $(BUILD) --lib --bins --test tidy --test it --test ctl --test differential

test-differential: tools ## requests by a new seed to us and to real etcd 3.7.3, five minutes long
	KVORUM_SEED=new KVORUM_DIFFERENTIAL_SECONDS=300 cargo test $(BUILD) --test differential

verify: ## read-only checks: format, lints, documents
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --no-deps --document-private-items --quiet
	if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); fi
	if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; fi

fix: generate ## format, mend lints, rewrite what is generated
	cargo clippy --fix --allow-dirty --allow-staged --all-targets
	cargo fmt

generate: build ## rewrite CRDs, the chart's copy, install.yaml, the table of flags
	$(BIN)/kvorum-operator crds > crds/kvorum.dev_kvorumclusters.yaml
	manifests/render.sh
	KVORUM_UPDATE=1 cargo test $(BUILD) --test tidy generated

images: build ## the two images as docker archives, without an engine or a registry
	KVORUM_BINARIES=$(BIN) manifests/images/build.sh $(IMAGES)

bench: build tools ## three members of ours and three of etcd in alternation; writes docs/benchmarks.md
	$(BIN)/kvorumctl bench versus-etcd --kvorum $(BIN)/kvorum --etcd $(TOOLS)/etcd --out docs/benchmarks.md

kube-up: ## a real Kubernetes with three nodes on this machine (root)
	tests/tools/install.sh all
	tests/kube/up.sh

kube-down: ## remove every trace of it
	tests/kube/down.sh

# The programs that tests are built with, so that CI compiles nothing twice.
test-kube: ## the whole story on that Kubernetes (root)
	tests/tools/install.sh all
	cargo test $(BUILD) --no-run --test kube
	KVORUM_BINARIES=$(BIN) manifests/images/build.sh $(IMAGES)
	KVORUM_IMAGES=$(IMAGES) cargo test $(BUILD) --test kube

tools: ## real etcd, etcdctl and etcdutl, the yardstick of the tests
	tests/tools/install.sh etcd
