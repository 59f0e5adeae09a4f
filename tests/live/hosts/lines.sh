#!/bin/sh
# So many lines to standard output and half as many to standard error, then it waits.
n=0
while [ "$n" -lt "$1" ]; do
    echo "out $n"
    [ $((n % 2)) -eq 0 ] && echo "err $n" >&2
    n=$((n + 1))
done
while :; do sleep 0.1; done
