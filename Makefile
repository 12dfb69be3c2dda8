# The targets that README.md and .ci/run name.

GO       ?= go
FUZZTIME ?= 30s
ROUNDS   ?= 50
STATES   ?= 5000000
GOLANGCI  = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: run build test bench bench-peers lint fuzz model torture campaign planted control

# A node named central with an embedded NATS server on loopback.
run: build
	./bin/steward run --node central --data ./data/central

build:
	$(GO) build -o bin/steward ./cmd/steward

test:
	$(GO) vet ./...
	$(GO) test -race -timeout 30m ./...

# Prints a table and writes bench.json. BENCH holds flags, such as -rounds 1 -d 1s -only 1024.
bench:
	$(GO) run ./internal/bench $(BENCH)

# The same, beside what users would pick instead: apt-get install redis-server rabbitmq-server first,
# or their rows say that they could not be run. Writes docs/performance.md and its plot: let nothing
# else run meanwhile.
bench-peers:
	$(GO) run ./internal/bench -peers -waiting 10000,100000,1000000,5000000 -doc docs/performance.md $(BENCH)

lint:
	$(GO) run $(GOLANGCI) run

# Every fuzz target of every package, FUZZTIME each.
fuzz:
	@set -e; pkgs=$$($(GO) list ./...); for pkg in $$pkgs; do \
		list=$$($(GO) test -list '^Fuzz' $$pkg); \
		for target in $$(printf '%s\n' "$$list" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

# The protocol's model: wide worlds, each up to STATES states, which take two gigabytes or so.
model:
	$(GO) test ./internal/model -v -timeout 0 -large -states=$(STATES)

# ROUNDS rounds of faults on real processes; TORTURE holds more flags, such as -seed 7 -faults kill,point.
torture:
	$(GO) run ./internal/torture -rounds=$(ROUNDS) $(TORTURE)

# Every act until its goals are reached, about two hours; writes its tables to docs/reliability.md, also where
# it is interrupted. TORTURE may hold -seed 7, or -scale 0.1 for a tenth of it.
campaign:
	$(GO) run ./internal/torture -acts all -publish docs/reliability.md $(TORTURE)

# Every planted bug until it is caught, and what losses of power do to JetStream; each writes its table there too.
planted:
	$(GO) run ./internal/torture -planted all -rounds 60 -publish docs/reliability.md $(TORTURE)

control:
	$(GO) run ./internal/torture -control 100 -publish docs/reliability.md $(TORTURE)
