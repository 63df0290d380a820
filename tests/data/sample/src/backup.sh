#!/bin/sh

# Keeps the seven newest copies of a file and removes older ones.
rotate() {
    for copy in $(ls -t "$1".* | tail -n +8); do
        rm -- "$copy"
    done
}
