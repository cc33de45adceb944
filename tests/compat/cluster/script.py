"""Calls of redis-py, each printed with its result: `script.py plain|cluster PORT`."""

import sys

import redis
from redis.cluster import RedisCluster

KEYS = [f"key:{number}" for number in range(30)]
TAG = "{tag}"


def connect(kind, port, protocol):
    make = RedisCluster if kind == "cluster" else redis.Redis
    return make(host="127.0.0.1", port=port, protocol=protocol, decode_responses=True)


def show(name, call):
    try:
        result = call()
    except redis.RedisError as error:
        result = f"{type(error).__name__}: {error}"
    if isinstance(result, set):
        result = sorted(result)
    print(f"{name}: {result!r}")


def everywhere(kind):
    """Each library asks one node, unless it is told."""
    return {"target_nodes": RedisCluster.PRIMARIES} if kind == "cluster" else {}


def merged(result):
    """The replies of all nodes as one."""
    if not isinstance(result, dict):
        return result
    values = list(result.values())
    return sum(values) if isinstance(values[0], int) and values[0] is not True else values[0]


def strings(client, kind):
    for key in KEYS:
        show(f"set {key}", lambda key=key: client.set(key, key.upper()))
    for key in KEYS[:10]:
        show(f"get {key}", lambda key=key: client.get(key))
    show("incr", lambda: client.incr("counter"))
    show("incr of text", lambda: client.incr(KEYS[0]))
    show("append", lambda: client.append(KEYS[1], "-more"))
    show("getrange", lambda: client.getrange(KEYS[1], 2, -2))
    show("expire", lambda: client.expire(KEYS[2], 1000))
    show("ttl", lambda: client.ttl(KEYS[2]))
    show("mget of a slot", lambda: client.mget(f"{TAG}1", f"{TAG}2"))
    show("mset of a slot", lambda: client.mset({f"{TAG}1": 1, f"{TAG}2": 2}))
    show("dbsize", lambda: merged(client.dbsize(**everywhere(kind))))
    show("keys", lambda: sorted(client.keys("key:1*", **everywhere(kind))))
    show("exists of many", lambda: client.exists(*KEYS, "none"))
    show("touch of many", lambda: client.touch(*KEYS, "none"))
    show("object", lambda: client.object("encoding", "counter"))
    show("unknown command", lambda: client.execute_command("NOSUCH", "key"))


def collections(client):
    show("hset", lambda: client.hset("hash", mapping={"a": 1, "b": 2}))
    show("hgetall", lambda: client.hgetall("hash"))
    show("rpush", lambda: client.rpush("list", *range(10)))
    show("lrange", lambda: client.lrange("list", 2, 5))
    show("blpop", lambda: client.blpop("list", 1))
    show("sadd", lambda: client.sadd("set", "x", "y"))
    show("smembers", lambda: client.smembers("set"))
    show("zadd", lambda: client.zadd("zset", {"a": 1.5, "b": 2}))
    show("zrange", lambda: client.zrange("zset", 0, -1, withscores=True))
    show("xadd", lambda: client.xadd("stream", {"f": "v"}, id="1-1"))
    show("xrange", lambda: client.xrange("stream"))
    show("sinterstore of a slot", lambda: client.sinterstore(f"{TAG}a", f"{TAG}b", f"{TAG}c"))
    show("wrong type", lambda: client.lpush("hash", "x"))


def scripts(client):
    show("eval", lambda: client.eval("return {KEYS[1],ARGV[1]}", 1, "k", "v"))
    show("script load", lambda: client.script_load("return ARGV[1]"))
    sha = "098e0f0d1448c0a81dafe820f66d460eb09263da"
    show("evalsha", lambda: client.evalsha(sha, 1, "k", "v"))
    show("script exists", lambda: client.script_exists(sha, "0" * 40))
    double = client.register_script("return redis.call('incrby', KEYS[1], 2)")
    show("registered script", lambda: double(keys=["counter"]))


def pipelines(client, kind):
    def pipeline():
        with client.pipeline(transaction=False) as pipe:
            for key in KEYS:
                pipe.get(key)
            pipe.incr("counter")
            return pipe.execute()

    show("pipeline", pipeline)
    if kind == "plain":

        def transaction():
            with client.pipeline() as pipe:
                pipe.watch(f"{TAG}1")
                value = int(pipe.get(f"{TAG}1"))
                pipe.multi()
                pipe.set(f"{TAG}1", value + 1)
                pipe.get(f"{TAG}2")
                return pipe.execute()

        show("transaction", transaction)


def messages(client, kind):
    def publish(make, send, channel):
        subscriber = client.pubsub()
        getattr(subscriber, make)(channel)
        first = subscriber.get_message(timeout=5)
        sent = getattr(client, send)(channel, "hello")
        second = subscriber.get_message(timeout=5)
        subscriber.close()
        return first, sent if kind == "plain" else None, second

    show("subscribe", lambda: publish("subscribe", "publish", "news"))


def end(client, kind):
    if kind == "cluster":
        show("keyslot", lambda: client.cluster_keyslot("key:1"))
        show("slots served", lambda: sum(
            last - first + 1 for first, last in client.cluster_slots()))
        show("mget_nonatomic", lambda: client.mget_nonatomic(*KEYS))
        show("mset_nonatomic", lambda: client.mset_nonatomic({key: "x" for key in KEYS[:5]}))
        show("delete of many", lambda: client.delete(*KEYS))
    else:
        show("mode", lambda: client.info("server")["redis_mode"])
        show("mget of many", lambda: client.mget(*KEYS, "none"))
        show("cluster", lambda: client.execute_command("CLUSTER", "SHARDS"))
        for key in KEYS:
            show(f"delete {key}", lambda key=key: client.delete(key))
    show("flushall", lambda: merged(client.flushall()))
    show("dbsize", lambda: merged(client.dbsize(**everywhere(kind))))


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    for protocol in (2, 3):
        print(f"RESP{protocol}")
        client = connect(kind, port, protocol)
        client.flushall()
        strings(client, kind)
        collections(client)
        scripts(client)
        pipelines(client, kind)
        messages(client, kind)
        end(client, kind)
        client.close()


if __name__ == "__main__":
    main()
