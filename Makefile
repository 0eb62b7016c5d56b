# `make help` says what there is to do.

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# Given by hand: make rig CASES="--filter vlan"
CASES :=
STATIC := -Ctarget-feature=+crt-static -Crelocation-model=static -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-O2
# Functions that keep a frame pointer need a third less in the tables for unwinding (docs/decisions/0094).
STATIC += -Cforce-frame-pointers=yes
ROUNDS :=
PODS :=
TARGET :=
SECONDS := 60
IMAGE := manifold:0.1.0

.PHONY: help demo demo-vhost test fuzz rig bench bench-storm bench-switch bench-rig soak release image deps-demo deps-test \
	deps-fuzz

help: ## prints this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 20

demo: deps-demo release ## shows attachments being made and taken down on this machine
	@deployments/demo/run

demo-vhost: deps-test release ## shows vhost-user: DPDK applications in pods, frames counted through Open vSwitch
	@deployments/demo/vhost

test: ## runs all checks, all tests, and the cases in the emulated machine
	@.ci/test

fuzz: deps-fuzz ## looks for inputs that break parsers, all or one: make fuzz TARGET=config SECONDS=600
	@.ci/fuzz $(SECONDS) $(TARGET)

rig: deps-test ## runs only the cases in the emulated machine: make rig CASES="--filter vlan"
	@cargo build --quiet --locked --workspace
	@cargo run --quiet --locked -p hw-tests -- $(CASES)

# With the flags of `release`: what is measured is the program as it is installed.
bench: deps-demo ## measures attaching beside the reference plugin and the bare kernel: make bench ROUNDS=200
	@env RUSTFLAGS="$(STATIC)" cargo bench --quiet --locked --target $(HOST) --bench attach -- $(ROUNDS)

bench-storm: deps-demo ## starts many pods at once through the shim and a daemon with 32 MiB: make bench-storm PODS=100
	@env RUSTFLAGS="$(STATIC)" cargo bench --quiet --locked --target $(HOST) --bench storm -- $(PODS)
	@env RUSTFLAGS="$(STATIC)" cargo bench --quiet --locked --target $(HOST) --bench storm -- cluster

# With the flags of `release`, and the steps of the peer with them, too.
bench-rig: deps-test release ## measures giving a pod a virtual function in the emulated machine: make bench-rig ROUNDS=40
	@for what in one seven; do env RUSTFLAGS="$(STATIC)" cargo run --quiet --release --locked --target $(HOST) \
		-p hw-tests -- --bench $$what $(addprefix --rounds ,$(ROUNDS)) || exit; done

bench-switch: deps-test ## measures a port of Open vSwitch beside the switch's own tools: make bench-switch ROUNDS=40
	@env RUSTFLAGS="$(STATIC)" cargo bench --quiet --locked --target $(HOST) --bench switch -- $(ROUNDS)

soak: deps-demo ## attaches and detaches 10,000 times and prints what might grow: make soak ROUNDS=10000
	@env RUSTFLAGS="$(STATIC)" cargo bench --quiet --locked --target $(HOST) --bench storm -- soak $(ROUNDS)

# Static, so that it runs on any node, and at a fixed place: relocating itself would cost every call
# (docs/decisions/0022-the-binary-is-static-and-at-a-fixed-place.md). The target must be given: without it the flag would reach build scripts.
release: ## builds the static binaries into target/<host>/release
	@.ci/stage release env RUSTFLAGS="$(STATIC)" cargo build --release --locked --target $(HOST)
	@.ci/stage release-shim env RUSTFLAGS="$(STATIC)" cargo build --release --locked --target $(HOST) \
		--no-default-features --features shim --bin manifold-shim
	@.ci/stage sizes .ci/sizes

image: release ## builds the image of the daemon, with podman or docker: make image IMAGE=REGISTRY/manifold:0.1.0
	@.ci/image "$(IMAGE)" "target/$(HOST)/release"

deps-demo:
	@.ci/deps demo

deps-test:
	@.ci/deps test

deps-fuzz:
	@.ci/deps fuzz
