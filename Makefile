# Every target says what it needs. Exit status: 0 fine, 1 the answer is no, 3 could not look.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export GOFLAGS ?= -mod=readonly -buildvcs=false
export CGO_ENABLED ?= 0

RACE ?=

.PHONY: help
help: ## what there is (needs nothing)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## the whole story on this machine, with a page on 127.0.0.1:8600 (needs Go; ARGS=--once ends by itself)
	@go build -o bin/demarc ./cmd/demarc
	@exec bin/demarc demo $(ARGS)

.PHONY: test
test: ## every test that needs no privilege and no network (needs Go; RACE=-race with the race detector and a C compiler)
	go test $(RACE) ./...

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

.PHONY: crash
crash: ## kill -9 at every commit and every outside call of story a (needs Go, Linux; about 5 minutes)
	@go run ./test/crash

.PHONY: db
db: ## store, line, faults and crash exam on PostgreSQL (needs Go, Linux, and Debian's postgresql or root to install it; about 5 minutes)
	@test/db/run

.PHONY: real
real: ## the line on a real OpenStack on this machine (needs root, Debian 12, its package mirrors; installs, starts and stops it)
	@test/real/run
