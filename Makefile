# `make help` says what there is to do.

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# Given by hand: make rig CASES="--filter vlan"
CASES :=

.PHONY: help demo test rig bench release deps-demo deps-test

help: ## prints this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 20

demo: deps-demo release ## shows attachments being made and taken down on this machine
	@deployments/demo/run

test: ## runs all checks, all tests, and the cases in the emulated machine
	@.ci/test

rig: deps-test ## runs only the cases in the emulated machine: make rig CASES="--filter vlan"
	@cargo build --quiet --locked --workspace
	@cargo run --quiet --locked -p hw-tests -- $(CASES)

bench: deps-demo ## measures
	@cargo bench --locked

# Static, so that it runs on any node. The target must be given: without it the flag would reach build scripts.
release: ## builds the static binaries into target/<host>/release
	@.ci/stage release env RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --release --locked --target $(HOST)

deps-demo:
	@.ci/deps demo

deps-test:
	@.ci/deps test
