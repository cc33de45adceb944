//! The ACL categories of commands.
//!
//! The table has the categories of Redis 7.0, which the tests compare with a server, and those of
//! the commands that Redis up to 8.10 and Valkey up to 9.1 have added. Where the tables of these
//! servers do not name a category, the table here follows similar commands: a command that writes
//! to streams is in `write`, `stream` and one of `fast` and `slow`. Commands of modules and unknown
//! commands have no category.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::resp::Args;

/// The category of all commands.
pub(super) const ALL: &str = "all";

/// Each category with its commands in lower case, sorted; sub-commands as `config|set`. An unknown
/// sub-command has the categories of its container. [`ALL`] has no row, because it contains unknown
/// commands too.
pub(super) const TABLE: &[(&str, &str)] = &[
    (
        "admin",
        "acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|log acl|save acl|setuser \
         acl|users backup bgrewriteaof bgsave client|kill client|list client|no-evict \
         client|pause client|unblock client|unpause cluster|addslots cluster|addslotsrange \
         cluster|bumpepoch cluster|cancelslotmigrations cluster|count-failure-reports \
         cluster|delslots cluster|delslotsrange cluster|failover cluster|flushslot \
         cluster|flushslots cluster|forget cluster|getslotmigrations cluster|meet \
         cluster|migrateslots cluster|migration cluster|replicas cluster|replicate \
         cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot \
         cluster|slaves commandlog|get commandlog|len commandlog|reset config|get \
         config|resetstat config|rewrite config|set debug failover hotkeys|get hotkeys|reset \
         hotkeys|start hotkeys|stop lastsave latency|doctor latency|graph latency|histogram \
         latency|history latency|latest latency|reset module|list module|load module|loadex \
         module|unload monitor pfdebug pfselftest psync replconf replicaof role save sentinel \
         shutdown slaveof slowlog|get slowlog|len slowlog|reset sync",
    ),
    (
        "bitmap",
        "bitcount bitfield bitfield_ro bitop bitpos getbit setbit",
    ),
    (
        "blocking",
        "blmove blmovem blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin wait waitaof \
         xread xreadgroup",
    ),
    (
        "connection",
        "asking auth client|caching client|capa client|getname client|getredir client|help \
         client|id client|import-source client|info client|kill client|list \
         client|maint_notifications client|no-evict client|no-touch client|pause client|reply \
         client|setinfo client|setname client|tracking client|trackinginfo client|unblock \
         client|unpause command command|count command|docs command|getkeys \
         command|getkeysandflags command|help command|info command|list echo hello ping quit \
         readonly readwrite reset select wait waitaof",
    ),
    (
        "dangerous",
        "acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|log acl|save acl|setuser \
         acl|users backup bgrewriteaof bgsave client|kill client|list client|no-evict \
         client|pause client|unblock client|unpause cluster|addslots cluster|addslotsrange \
         cluster|bumpepoch cluster|cancelslotmigrations cluster|count-failure-reports \
         cluster|delslots cluster|delslotsrange cluster|failover cluster|flushslot \
         cluster|flushslots cluster|forget cluster|getslotmigrations cluster|meet \
         cluster|migrateslots cluster|migration cluster|replicas cluster|replicate \
         cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot \
         cluster|slaves commandlog|get commandlog|len commandlog|reset config|get \
         config|resetstat config|rewrite config|set debug failover flushall flushdb hotkeys|get \
         hotkeys|reset hotkeys|start hotkeys|stop info keys lastsave latency|doctor \
         latency|graph latency|histogram latency|history latency|latest latency|reset migrate \
         module|list module|load module|loadex module|unload monitor pfdebug pfselftest psync \
         replconf replicaof restore restore-asking role save sentinel sflush shutdown slaveof \
         slowlog|get slowlog|len slowlog|reset sort sort_ro swapdb sync",
    ),
    (
        "fast",
        "append arcount arget arinsert arlen arnext arseek arset asking auth bitfield_ro \
         bzpopmax bzpopmin dbsize decr decrby delex delifeq digest discard echo exists expire \
         expireat expiretime get getbit getdel getex getset hdel hello hexists hexpire \
         hexpireat hexpiretime hget hgetdel hgetex hincrby hincrbyfloat hlen hmget hmset \
         hpersist hpexpire hpexpireat hpexpiretime hpttl hset hsetex hsetnx hstrlen httl incr \
         incrby incrbyfloat increx lastsave llen lolwut lpop lpush lpushx mget move multi \
         persist pexpire pexpireat pexpiretime pfadd ping pttl publish quit readonly readwrite \
         renamenx reset role rpop rpush rpushx sadd scard select setnx sismember smismember \
         smove spop spublish srem strlen swapdb time touch ttl type unlink unwatch vcard vdim \
         vemb vgetattr vinfo vlinks vsetattr watch xack xackdel xadd xautoclaim xcfgset xclaim \
         xdel xdelex xlen xnack xsetid zadd zcard zcount zincrby zlexcount zmscore zpopmax \
         zpopmin zrank zrem zrevrank zscore",
    ),
    (
        "geo",
        "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember \
         georadiusbymember_ro geosearch geosearchstore",
    ),
    (
        "hash",
        "hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex himport hincrby \
         hincrbyfloat hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl \
         hrandfield hscan hset hsetex hsetnx hstrlen httl hvals",
    ),
    ("hyperloglog", "pfadd pfcount pfdebug pfmerge pfselftest"),
    (
        "keyspace",
        "clusterscan cluster|flushslot copy dbsize del dump exists expire expireat expiretime \
         flushall flushdb keys migrate move object|encoding object|freq object|help \
         object|idletime object|refcount persist pexpire pexpireat pexpiretime pttl randomkey \
         rename renamenx restore restore-asking scan sflush swapdb touch ttl type unlink",
    ),
    (
        "list",
        "blmove blmovem blmpop blpop brpop brpoplpush lindex linsert llen lmove lmovem lmpop \
         lpop lpos lpush lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx sort sort_ro",
    ),
    (
        "pubsub",
        "psubscribe publish pubsub|channels pubsub|numpat pubsub|numsub pubsub|shardchannels \
         pubsub|shardnumsub punsubscribe spublish ssubscribe subscribe sunsubscribe unsubscribe",
    ),
    (
        "read",
        "arcount arget argetrange argrep arinfo arlastitems arlen armget arnext arop arscan \
         bitcount bitfield_ro bitpos clusterscan dbsize digest dump exists expiretime geodist \
         geohash geopos georadius_ro georadiusbymember_ro geosearch get getbit getrange hexists \
         hexpiretime hget hgetall hkeys hlen hmget hpexpiretime hpttl hrandfield hscan hstrlen \
         httl hvals keys lcs lindex llen lolwut lpos lrange memory|usage mget object|encoding \
         object|freq object|idletime object|refcount pexpiretime pfcount pttl randomkey scan \
         scard sdiff sdiffcard sinter sintercard sismember smembers smismember sort_ro \
         srandmember sscan strlen substr sunion sunioncard touch ttl type vcard vdim vemb \
         vgetattr vinfo vismember vlinks vrandmember vrange vsim xinfo|consumers xinfo|groups \
         xinfo|stream xlen xpending xrange xread xrevrange zcard zcount zdiff zinter zintercard \
         zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange \
         zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion",
    ),
    (
        "scripting",
        "eval eval_ro evalsha evalsha_ro fcall fcall_ro function|delete function|dump \
         function|flush function|help function|kill function|list function|load \
         function|restore function|stats script|debug script|exists script|flush script|help \
         script|kill script|load script|show",
    ),
    (
        "set",
        "sadd scard sdiff sdiffcard sdiffstore sinter sintercard sinterstore sismember smembers \
         smismember smove sort sort_ro spop srandmember srem sscan sunion sunioncard \
         sunionstore",
    ),
    (
        "slow",
        "acl acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load \
         acl|log acl|save acl|setuser acl|users acl|whoami ardel ardelrange argetrange argrep \
         arinfo arlastitems armget armset arop arring arscan backup bgrewriteaof bgsave \
         bitcount bitfield bitop bitpos blmove blmovem blmpop blpop brpop brpoplpush bzmpop \
         client client|caching client|capa client|getname client|getredir client|help client|id \
         client|import-source client|info client|kill client|list client|maint_notifications \
         client|no-evict client|no-touch client|pause client|reply client|setinfo \
         client|setname client|tracking client|trackinginfo client|unblock client|unpause \
         cluster clusterscan cluster|addslots cluster|addslotsrange cluster|bumpepoch \
         cluster|cancelslotmigrations cluster|count-failure-reports cluster|countkeysinslot \
         cluster|delslots cluster|delslotsrange cluster|failover cluster|flushslot \
         cluster|flushslots cluster|forget cluster|getkeysinslot cluster|getslotmigrations \
         cluster|help cluster|info cluster|keyslot cluster|links cluster|meet \
         cluster|migrateslots cluster|migration cluster|myid cluster|myshardid cluster|nodes \
         cluster|replicas cluster|replicate cluster|reset cluster|saveconfig \
         cluster|set-config-epoch cluster|setslot cluster|shards cluster|slaves \
         cluster|slot-stats cluster|slots command commandlog commandlog|get commandlog|help \
         commandlog|len commandlog|reset command|count command|docs command|getkeys \
         command|getkeysandflags command|help command|info command|list config config|get \
         config|help config|resetstat config|rewrite config|set copy debug del dump eval \
         eval_ro evalsha evalsha_ro exec failover fcall fcall_ro flushall flushdb function \
         function|delete function|dump function|flush function|help function|kill function|list \
         function|load function|restore function|stats geoadd geodist geohash geopos georadius \
         georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore getrange \
         hgetall himport hkeys hotkeys hotkeys|get hotkeys|help hotkeys|reset hotkeys|start \
         hotkeys|stop hrandfield hscan hvals info keys latency latency|doctor latency|graph \
         latency|help latency|histogram latency|history latency|latest latency|reset lcs lindex \
         linsert lmove lmovem lmpop lpos lrange lrem lset ltrim memory memory|doctor \
         memory|help memory|malloc-stats memory|purge memory|stats memory|usage migrate module \
         module|help module|list module|load module|loadex module|unload monitor mset msetex \
         msetnx object object|encoding object|freq object|help object|idletime object|refcount \
         pfcount pfdebug pfmerge pfselftest psetex psubscribe psync pubsub pubsub|channels \
         pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub \
         punsubscribe randomkey rename replconf replicaof restore restore-asking rpoplpush save \
         scan script script|debug script|exists script|flush script|help script|kill \
         script|load script|show sdiff sdiffcard sdiffstore sentinel set setbit setex setrange \
         sflush shutdown sinter sintercard sinterstore slaveof slowlog slowlog|get slowlog|help \
         slowlog|len slowlog|reset smembers sort sort_ro srandmember sscan ssubscribe subscribe \
         substr sunion sunioncard sunionstore sunsubscribe sync unsubscribe vadd vismember \
         vrandmember vrange vrem vsim wait waitaof xgroup xgroup|create xgroup|createconsumer \
         xgroup|delconsumer xgroup|destroy xgroup|help xgroup|setid xinfo xinfo|consumers \
         xinfo|groups xinfo|help xinfo|stream xpending xrange xread xreadgroup xrevrange xtrim \
         zdiff zdiffstore zinter zintercard zinterstore zmpop zrandmember zrange zrangebylex \
         zrangebyscore zrangestore zremrangebylex zremrangebyrank zremrangebyscore zrevrange \
         zrevrangebylex zrevrangebyscore zscan zunion zunionstore",
    ),
    (
        "sortedset",
        "bzmpop bzpopmax bzpopmin sort sort_ro zadd zcard zcount zdiff zdiffstore zincrby \
         zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember \
         zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank \
         zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore \
         zunion zunionstore",
    ),
    (
        "stream",
        "xack xackdel xadd xautoclaim xcfgset xclaim xdel xdelex xgroup|create \
         xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|help xgroup|setid \
         xinfo|consumers xinfo|groups xinfo|help xinfo|stream xlen xnack xpending xrange xread \
         xreadgroup xrevrange xsetid xtrim",
    ),
    (
        "string",
        "append decr decrby delex delifeq digest get getdel getex getrange getset incr incrby \
         incrbyfloat increx lcs mget mset msetex msetnx psetex set setex setnx setrange strlen \
         substr",
    ),
    ("transaction", "discard exec multi unwatch watch"),
    (
        "write",
        "append ardel ardelrange arinsert armset arring arseek arset bitfield bitop blmove \
         blmovem blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin cluster|flushslot copy \
         decr decrby del delex delifeq expire expireat flushall flushdb function|delete \
         function|flush function|load function|restore geoadd georadius georadiusbymember \
         geosearchstore getdel getex getset hdel hexpire hexpireat hgetdel hgetex himport \
         hincrby hincrbyfloat hmset hpersist hpexpire hpexpireat hset hsetex hsetnx incr incrby \
         incrbyfloat increx linsert lmove lmovem lmpop lpop lpush lpushx lrem lset ltrim migrate \
         move mset msetex msetnx persist pexpire pexpireat pfadd pfdebug pfmerge psetex rename \
         renamenx restore restore-asking rpop rpoplpush rpush rpushx sadd sdiffstore set setbit \
         setex setnx setrange sflush sinterstore smove sort spop srem sunionstore swapdb unlink \
         vadd vrem vsetattr xack xackdel xadd xautoclaim xcfgset xclaim xdel xdelex \
         xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid \
         xnack xreadgroup xsetid xtrim zadd zdiffstore zincrby zinterstore zmpop zpopmax zpopmin \
         zrangestore zrem zremrangebylex zremrangebyrank zremrangebyscore zunionstore",
    ),
];

/// The names of all categories.
pub fn categories() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name).chain([ALL])
}

/// Whether Redis or Valkey have a command or sub-command with this name, which is in lower case
/// (`get`, `config|set`). Commands of modules are unknown.
pub fn is_command(name: &str) -> bool {
    let named = |listed: &str| {
        let rest = listed.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
    };
    let mut listed = TABLE.iter().flat_map(|(_, names)| names.split(' '));
    listed.any(named)
}

/// Whether the command has sub-commands. Called for every request, so most names are excluded by
/// their length and first letter.
#[inline]
pub fn is_container(name: &[u8]) -> bool {
    let Some(letter) = name.first().map(u8::to_ascii_lowercase) else {
        return false;
    };
    let names: &[&str] = match (name.len(), letter) {
        (3, b'a') => &["acl"],
        (5, b'x') => &["xinfo"],
        (6, b'c' | b'm' | b'o' | b'p' | b's' | b'x') => &[
            "client", "config", "memory", "module", "object", "pubsub", "script", "xgroup",
        ],
        (7, b'c' | b'l' | b's') => &["cluster", "command", "latency", "slowlog"],
        (8, b'f') => &["function"],
        _ => return false,
    };
    let mut names = names.iter();
    names.any(|it| it.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether the request only reads, so that it may be retried although it may have been executed.
/// False for unknown commands.
pub fn only_reads(frame: &[u8]) -> bool {
    const OTHERS: [&[u8]; 3] = [b"echo", b"ping", b"role"];
    static READS: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| row("read").chain(OTHERS).collect());
    is_in(&READS, frame)
}

/// Whether a server may replicate something because of this request. WAIT counts the replicas that
/// have the last such request of the connection. True for unknown commands.
pub fn may_write(frame: &[u8]) -> bool {
    static WRITES_NOTHING: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| {
        let writes = ["write", "scripting", "pubsub"].into_iter();
        let writes: HashSet<_> = writes.flat_map(row).collect();
        let known = ["fast", "slow"].into_iter().flat_map(row);
        known.filter(|name| !writes.contains(name)).collect()
    });
    !is_in(&WRITES_NOTHING, frame)
}

/// Whether a server that pauses writes (CLIENT PAUSE WRITE, FAILOVER) pauses this request. False
/// for unknown commands.
pub fn is_paused_with_writes(frame: &[u8]) -> bool {
    static PAUSED: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| {
        // These may replicate something too.
        let others = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];
        row("write").chain(others.map(str::as_bytes)).collect()
    });
    is_in(&PAUSED, frame)
}

/// The commands of a category.
fn row(category: &'static str) -> impl Iterator<Item = &'static [u8]> {
    let row = TABLE.iter().find(move |(name, _)| *name == category);
    let names = row.into_iter().flat_map(|(_, names)| names.split(' '));
    names.map(str::as_bytes)
}

/// Whether the command of a request is one of these names, which are in lower case.
pub(super) fn is_in(names: &HashSet<&[u8]>, frame: &[u8]) -> bool {
    let name = Args::new(frame).next().unwrap_or_default();
    // Longer than the longest name of the table.
    let mut lower = [0; 32];
    let Some(lower) = lower.get_mut(..name.len()) else {
        return false;
    };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    names.contains(&*lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_replicated_commands_are_paused_with_writes() {
        let frame = |name: &str| format!("*2\r\n${}\r\n{name}\r\n$1\r\nk\r\n", name.len());
        for name in ["SET", "del", "EVAL", "publish", "PFCOUNT"] {
            assert!(is_paused_with_writes(frame(name).as_bytes()), "{name}");
        }
        for name in ["GET", "eval_ro", "JSON.SET", "PING", ""] {
            assert!(!is_paused_with_writes(frame(name).as_bytes()), "{name}");
        }
    }

    #[test]
    fn command_is_known_by_its_whole_name() {
        for name in ["get", "flushall", "config", "config|set", "client"] {
            assert!(is_command(name), "{name}");
        }
        for name in ["", "flushal", "config|st", "conf", "ft.search", "get|x"] {
            assert!(!is_command(name), "{name}");
        }
    }

    #[test]
    fn command_that_is_replicated_may_write() {
        for frame in ["*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\nget\r\n$1\r\nk\r\n"] {
            assert!(!may_write(frame.as_bytes()), "{frame}");
        }
        for frame in [
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
            "*3\r\n$7\r\nPublish\r\n$1\r\nc\r\n$1\r\nm\r\n",
            "*3\r\n$4\r\nEVAL\r\n$1\r\nx\r\n$1\r\n0\r\n",
            "*1\r\n$6\r\nFT.ADD\r\n",
        ] {
            assert!(may_write(frame.as_bytes()), "{frame}");
        }
    }

    #[test]
    fn only_known_reading_commands_only_read() {
        for frame in ["*2\r\n$3\r\nGeT\r\n$1\r\nk\r\n", "*1\r\n$4\r\nPING\r\n"] {
            assert!(only_reads(frame.as_bytes()), "{frame}");
        }
        for frame in [
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
            "*2\r\n$6\r\nGETDEL\r\n$1\r\nk\r\n",
            "*1\r\n$0\r\n\r\n",
            "*1\r\n$3\r\nget",
            "*1\r\n$10\r\nfuture.get\r\n",
        ] {
            assert!(!only_reads(frame.as_bytes()), "{frame}");
        }
    }
}
