# Every target says what it needs. Exit status: 0 fine, 1 the answer is no, 3 could not look.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export GOFLAGS ?= -mod=readonly -buildvcs=false
export CGO_ENABLED ?= 0

RACE ?=

# Of make mutants and make weekly.
SEED ?= 1
WEEKLY := mutants fuzz fight db-whole
SUITE ?= $(WEEKLY)

.PHONY: help
help: ## what there is (needs nothing)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## the whole story on this machine, with a page on 127.0.0.1:8600 (needs Go; ARGS=--once ends by itself)
	@go build -o bin/demarc ./cmd/demarc
	@exec bin/demarc demo $(ARGS)

.PHONY: test
test: ## every test that needs no privilege and no network (needs Go; RACE=-race with the race detector and a C compiler)
	go test $(RACE) -timeout 40m ./...

.PHONY: build
build: ## bin/demarc, one static binary (needs Go)
	GOFLAGS=-mod=readonly go build -trimpath -o bin/demarc ./cmd/demarc

.PHONY: check
check: ## gofmt, vet, staticcheck, floors (needs Go; the first run builds staticcheck)
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi
	go vet ./...
	GOFLAGS= go tool -modfile=tools/go.mod staticcheck ./...
	go test -count=1 -run 'Floors' .

.PHONY: lint
lint: ## golangci-lint with .golangci.yml (needs golangci-lint v2 on PATH)
	@command -v golangci-lint >/dev/null || { echo "golangci-lint is not on PATH"; exit 3; }
	golangci-lint run ./...

.PHONY: bench
bench: ## who holds what of a million machines, in seconds of the processor (needs Go, Linux; about 10 seconds)
	@go run ./test/bench

.PHONY: algebra
algebra: ## a million questions to the model of exposure, each held against single packets one by one (needs Go; about 2 minutes; DEMARC_SEED=N draws others)
	@out=$$(DEMARC_CASES=$${DEMARC_CASES:-1000000} go test -count=1 -timeout 20m -v -run '^TestTheAlgebraAgreesWithEveryPacket$$' ./internal/reach) || { printf '%s\n' "$$out"; exit 1; }; printf '%s\n' "$$out" | grep -o '{.*}'

.PHONY: exposure
exposure: ## the model of exposure held against real packets on redrawn filters (needs what real needs; SEED=N draws others)
	@test/cloudlab/with-cloud campus test/exposure/run

.PHONY: crash
crash: ## kill -9 at every commit and every outside call of story a (needs Go, Linux; about 5 minutes)
	@go run ./test/crash

.PHONY: mutants
mutants: ## small faults in what decides and acts: does a test notice each? (needs Go, Linux; at most 30 minutes on two cores; SEED=N draws others)
	@go build -o bin/mutants ./test/mutants
	@exec bin/mutants -seed $(SEED)

.PHONY: fuzz
fuzz: ## every fuzz target until it has made a million executions or has had three minutes (needs Go, Linux; about an hour on two cores; ARGS='-only REGEXP -time 20s' runs some, for less long)
	@go build -o bin/fuzz ./test/fuzz
	@exec bin/fuzz $(ARGS)

.PHONY: weekly
weekly: ## the suites that are too long for CI, one after another (needs what mutants, fuzz, fight and db-whole need; SUITE=mutants runs one)
	@for suite in $(SUITE); do echo "=== $$suite"; $(MAKE) --no-print-directory "$$suite"; done

.PHONY: db
db: ## store, faults, failover, a full disk, the line where the engine matters, every third crash point, on PostgreSQL (needs Go, Linux, and Debian's postgresql and pgbouncer or root to install them; about 10 minutes)
	@test/db/run

.PHONY: db-whole
db-whole: ## the same with every test of the line and every crash point (needs what db needs; about 30 minutes)
	@test/db/run --whole

.PHONY: guide
guide: ## every openstack command on the pages of guidance parses with the real client (needs Debian's python3-openstackclient or root to install it; no cloud)
	@test/guide/run

SCENARIO ?= campus

.PHONY: real
real: ## the line on a real OpenStack on this machine (needs root, Debian 12, its package mirrors; brings the cloud up and down unless it is up)
	@test/cloudlab/with-cloud campus test/real/run

N ?= 100000

.PHONY: scale
scale: ## a cloud of N servers is read, killed half-way, gone on with, and followed (needs what real needs; N=100000: about 15 minutes)
	@test/cloudlab/with-cloud campus test/scale/run $(N)

.PHONY: cloud
cloud: ## the test cloud itself: a second scenario up, held against its file, and gone without a trace (needs what real needs, and no cloud up)
	@test/cloudlab/check

.PHONY: cloud-up
cloud-up: ## the test cloud, to stay until cloud-down (needs what real needs; SCENARIO=campus or another of test/cloudlab/scenarios)
	@test/cloudlab/with-cloud --keep $(SCENARIO) test/cloudlab/testbed hosts

.PHONY: cloud-down
cloud-down: ## take the test cloud down (needs root)
	@[ "$$(id -u)" = 0 ] || { echo "make cloud-down needs root"; exit 3; }
	@test/cloudlab/testbed down

.PHONY: lab
lab: ## the stories on a real OpenStack through demarc serve, with acts (needs what real needs; at most 10 minutes once packages are there)
	@test/cloudlab/with-cloud stories test/lab/run

.PHONY: fight
fight: ## tenants who fight enforcement on a real OpenStack, with kill -9 at every action (needs what real needs; about 15 minutes once packages are there)
	@test/cloudlab/with-cloud fight test/lab/fight

.PHONY: variety
variety: ## the less usual features of a real OpenStack, compared with nmap of every TCP port from each vantage point (needs what real needs)
	@test/cloudlab/with-cloud variety test/variety/run
