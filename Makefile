.PHONY: help setup demo test lint bench
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile

setup: ## make .venv with all that development needs
	sh scripts/setup dev,train

demo: ## set up and search the standard library
	sh scripts/demo

test: ## set up and run the tests
	sh scripts/test

lint: setup ## check style, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: setup ## measure the speed of search
	.venv/bin/python benchmarks/search_speed.py
