#!/bin/sh
# Commands of redis-cli, each with its reply: `script.sh plain|cluster PORT`.
set -eu

kind=$1
port=$2
mode=
[ "$kind" = plain ] || mode=-c

say() {
    printf '%s\n' "> $*"
    # A cluster shows its redirections, which the proxy has not.
    redis-cli $mode -p "$port" "$@" | grep -v '^-> Redirected'
}

for n in 0 1 2 3 4 5 6 7 8 9; do
    say set "key:$n" "value $n"
done
for n in 0 1 2 3 4 5 6 7 8 9 none; do
    say get "key:$n"
done
say incr counter
say lpush key:1 x
say hset hash a 1 b 2
say hgetall hash
say -3 hgetall hash
say mset '{tag}1' 1 '{tag}2' 2
say mget '{tag}1' '{tag}2' '{tag}3'
say eval 'return KEYS' 1 k
say object encoding counter
say nosuch
say ping
if [ "$kind" = cluster ]; then
    say cluster keyslot foo
    say cluster keyslot
    say cluster nosuch
    say cluster count-failure-reports nosuch
    say cluster replicas nosuch
    say cluster replicate nosuch
    say cluster failover
    say cluster addslots 0
    say cluster addslots 99999
    say readonly
    say readwrite
    say asking
else
    say cluster info
    say cluster slots
    say readonly
    say readwrite
    say asking
fi
for key in 0 1 2 3 4 5 6 7 8 9; do
    say del "key:$key"
done
for key in counter hash '{tag}1' '{tag}2'; do
    say unlink "$key"
done
