//! Which arguments of each command are keys: the commands of Redis up to 8.2 and of Valkey up to
//! 9.1.

use super::Shape;

/// One key, the first argument.
const FIRST: Shape = range(1, 1, 1);
/// One key, the second argument: behind a sub-command.
const SECOND: Shape = range(2, 2, 1);
/// Two keys: a source and a destination.
const TWO: Shape = range(1, 2, 1);
/// All arguments.
const ALL: Shape = range(1, -1, 1);
/// All arguments but the last, a timeout.
const ALL_BUT_LAST: Shape = range(1, -2, 1);
/// All arguments but the first, an operation.
const ALL_FROM_SECOND: Shape = range(2, -1, 1);
/// Keys and values in turn.
const PAIRS: Shape = range(1, -1, 2);

const fn range(first: u8, last: i8, step: u8) -> Shape {
    Shape::Range { first, last, step }
}

const fn counted(at: u8, step: u8) -> Shape {
    Shape::Counted { at, step }
}

macro_rules! by_shape {
    ($($shape:expr => $($name:literal)*;)*) => {
        /// Each command in lower case, with its shape.
        pub(super) static ROWS: &[(&str, Shape)] = &[$($(($name, $shape),)*)*];
    };
}

by_shape! {
    FIRST =>
        "append" "bitcount" "bitfield" "bitfield_ro" "bitpos" "decr" "decrby" "delex" "delifeq"
        "digest" "dump" "expire" "expireat" "expiretime" "geoadd" "geodist" "geohash" "geopos"
        "georadius_ro" "georadiusbymember_ro" "geosearch" "get" "getbit" "getdel" "getex"
        "getrange" "getset" "hdel" "hexists" "hexpire" "hexpireat" "hexpiretime" "hget" "hgetall"
        "hgetdel" "hgetex" "hincrby" "hincrbyfloat" "hkeys" "hlen" "hmget" "hmset" "hpersist"
        "hpexpire" "hpexpireat" "hpexpiretime" "hpttl" "hrandfield" "hscan" "hset" "hsetex"
        "hsetnx" "hstrlen" "httl" "hvals" "incr" "incrby" "incrbyfloat" "lindex" "linsert" "llen"
        "lpop" "lpos" "lpush" "lpushx" "lrange" "lrem" "lset" "ltrim" "move" "persist" "pexpire"
        "pexpireat" "pexpiretime" "pfadd" "psetex" "pttl" "restore" "restore-asking" "rpop"
        "rpush" "rpushx" "sadd" "scard" "set" "setbit" "setex" "setnx" "setrange" "sismember"
        "smembers" "smismember" "sort_ro" "spop" "srandmember" "srem" "sscan" "strlen" "substr"
        "ttl" "type" "vadd" "vcard" "vdim" "vemb" "vgetattr" "vinfo" "vismember" "vlinks"
        "vrandmember" "vrange" "vrem" "vsetattr" "vsim" "xack" "xackdel" "xadd" "xautoclaim"
        "xcfgset" "xclaim" "xdel" "xdelex" "xlen" "xpending" "xrange" "xrevrange" "xsetid" "xtrim"
        "zadd" "zcard" "zcount" "zincrby" "zlexcount" "zmscore" "zpopmax" "zpopmin" "zrandmember"
        "zrange" "zrangebylex" "zrangebyscore" "zrank" "zrem" "zremrangebylex" "zremrangebyrank"
        "zremrangebyscore" "zrevrange" "zrevrangebylex" "zrevrangebyscore" "zrevrank" "zscan"
        "zscore";
    SECOND => "memory" "object" "pfdebug" "xgroup" "xinfo";
    TWO =>
        "blmove" "brpoplpush" "copy" "geosearchstore" "lcs" "lmove" "rename" "renamenx"
        "rpoplpush" "smove" "zrangestore";
    ALL =>
        "del" "exists" "mget" "pfcount" "pfmerge" "sdiff" "sdiffstore" "sinter" "sinterstore"
        "sunion" "sunionstore" "touch" "unlink" "watch";
    ALL_BUT_LAST => "blpop" "brpop" "bzpopmax" "bzpopmin";
    ALL_FROM_SECOND => "bitop";
    PAIRS => "mset" "msetnx";
    counted(1, 1) => "lmpop" "sintercard" "zdiff" "zinter" "zintercard" "zmpop" "zunion";
    counted(1, 2) => "msetex";
    counted(2, 1) =>
        "blmpop" "bzmpop" "eval" "eval_ro" "evalsha" "evalsha_ro" "fcall" "fcall_ro";
    Shape::StoreCounted => "zdiffstore" "zinterstore" "zunionstore";
    Shape::Streams { from: 1 } => "xread";
    Shape::Streams { from: 4 } => "xreadgroup";
    Shape::Geo => "georadius" "georadiusbymember";
    Shape::Sort => "sort";
    Shape::Migrate => "migrate";
    // Channels, which have a slot as keys do.
    FIRST => "spublish";
    ALL => "ssubscribe" "sunsubscribe";
    Shape::None =>
        "acl" "asking" "auth" "bgrewriteaof" "bgsave" "client" "cluster" "command"
        "commandlog" "config" "dbsize" "debug" "discard" "echo" "exec" "failover"
        "flushall" "flushdb" "function" "hello" "info" "keys" "lastsave" "latency"
        "lolwut" "module" "monitor" "multi" "ping" "psubscribe" "psync" "publish" "pubsub"
        "punsubscribe" "quit" "randomkey" "readonly" "readwrite" "replconf" "replicaof"
        "reset" "role" "save" "scan" "script" "select" "shutdown" "slaveof" "slowlog"
        "subscribe" "swapdb" "sync" "time" "unsubscribe" "unwatch" "wait" "waitaof"
        "pfselftest";
}
