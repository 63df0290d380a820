#!/bin/bash
LIMIT=3
# Adds.
# more
add() {
  echo 1
}
function run {
  echo
}
readonly X=1
export Y=2
