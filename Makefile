# What a developer runs. "make help" lists it; .ci/run runs what must pass.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 30s
SEED        ?= 1
SEEDS       ?= 20
CLUSTER     ?= 20
FLEETS      ?= 3
NODES       ?= 3
CRASH       ?= ./internal/commitlog ./internal/replica
STEADY      := -overlay bin/steady/overlay.json -tags invariants,steady

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: build check cross test race steady sim sim-cluster sim-planted crash-images torture fuzz golden compat system deploy bench gen map help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary, in bin/myelin
	$(GO) build -trimpath -o bin/myelin ./cmd/myelin

check: ## formatting, vet, staticcheck, the rules of the house: under a minute
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then \
		echo "run gofmt -w on:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags compat,bench,system,invariants,steady ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 -run '^Test(Layers|Budgets|Package|NoInit|Machine|Selects|MapOrder|NoSleep|FolderMap|Dependencies|Changelog|FormatPages|Links|Config|ParseLayers|RulesBite)' .

cross: ## build and vet for the systems that are not Linux
	GOOS=darwin $(GO) build ./... && GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) build ./... && GOOS=windows $(GO) vet ./...

test: ## all tests in their short form
	$(GO) test -short ./...

race: ## the same with the race detector and invariants
	CGO_ENABLED=1 $(GO) test -race -short -tags invariants -timeout 15m ./...

sim: steady ## brokers and logs under power cuts, SEEDS seeds from SEED on, each run twice; CLUSTER seeds with clients, FLEETS of three nodes, twice; the long crash tests
	SIM_SEED=$(SEED) SIM_SEEDS=$(SEEDS) SIM_CLUSTER=$(CLUSTER) SIM_FLEETS=$(FLEETS) $(GO) test -count=1 $(STEADY) -timeout 15m ./internal/sim
	$(GO) test -count=1 -tags invariants -timeout 15m $(CRASH)

steady: ## Go's runtime without the lots that it draws, for the simulator
	$(GO) run ./test/steady bin/steady

sim-cluster: steady ## CLUSTER seeds of a cluster of NODES from SEED on and nothing else; totals of faults and marked branches in the end
	SIM_SEED=$(SEED) SIM_CLUSTER=$(CLUSTER) SIM_NODES=$(NODES) $(GO) test -count=1 $(STEADY) -timeout 10h -v -run '^TestClusterSeeds$$' ./internal/sim

sim-planted: steady ## bugs that are planted, each of which some seed must find; SIM_BUG names one
	SIM_SEED=$(SEED) SIM_NODES=$(NODES) $(GO) test -count=1 $(STEADY),planted -timeout 10h -v -run '^TestPlanted$$' ./internal/sim

crash-images: ## what power cuts may leave at each of 2,000 operations, in 13 ways: 26,000 directories, some minutes; SEED chooses the story
	TORTURE_SEED=$(SEED) $(GO) test -count=1 -timeout 60m -v -run '^TestCrashImages$$' ./internal/torture

torture: ## turned bits, failing operations, random histories and planted bugs, in their long form: half an hour
	$(GO) test -count=1 -timeout 120m -v -run '^Test(Flips|Faults|Planted)' ./internal/torture
	TORTURE_HISTORIES=2000 $(GO) test -count=1 -timeout 120m -v -run '^TestMetamorph$$' ./internal/torture

fuzz: ## every fuzz target for FUZZTIME (30s), or for so many inputs (20000x)
	@grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' internal | sort | \
	sed -E 's|/[^/]*:func | |' | while read -r folder target; do \
		echo "$$folder $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$$folder" </dev/null || exit 1; \
	done

golden: ## rewrite the expected outputs of scripts; read the difference before you commit it
	$(GO) test $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | \
		awk '/internal\/script/ && $$1 !~ /myelin$$/ { print $$1 }') -update

compat: ## real clients of other languages, and a real Kafka beside us (needs Java 17 with Maven, Python 3, kcat)
	$(GO) test -count=1 -tags compat -timeout 40m ./test/compat/...

system: ## real processes, one and three, under kill -9, stops, cuts between nodes, full disks, power cuts and failing devices (root mounts them); SYSTEM_KILLS=200 SYSTEM_CUTS=100 SYSTEM_MINUTES=60 SYSTEM_TOGETHER=20 is the long form
	$(GO) test -count=1 -tags system -timeout 150m -v ./test/system/...

deploy: ## what starts Myelin elsewhere: renders and lints the Helm chart and the systemd unit (needs systemd-analyze)
	cd test/deploy && $(GO) vet ./... && $(GO) test -count=1 -timeout 10m ./...

bench: build ## the table of speed and memory; PEER=host:port,pid compares a running Kafka, ROWS=P1,P3 chooses, QUICK=1 shortens
	$(GO) build -trimpath -o bin/bench ./test/bench
	bin/bench -myelin bin/myelin -peer '$(PEER)' -rows '$(ROWS)' $(if $(QUICK),-quick)

gen: ## what is generated: the wire codec, the configuration page
	$(GO) generate ./...

map: ## the folder map in ARCHITECTURE.md, from the package docs
	$(GO) test -count=1 -run '^TestFolderMap$$' . -update
