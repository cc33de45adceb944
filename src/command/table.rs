//! The command table: which names a proxy may not simply pass on, and why.
//!
//! It owns the facts: the name of a command, its class, and, where the proxy answers in the
//! server's place, how many arguments it takes. It holds no logic. A command that is not here is
//! forwarded unseen, so that one invented tomorrow works today; a row is needed only for commands
//! that carry connection state, are answered here, or are administrative.

use super::{Answer, Own, Plan, Session, Topic};

/// A command or a sub-command of one.
pub(super) struct Row {
    /// The full name in lower case, as in Redis's ACL texts: `config|set` for a sub-command.
    pub(super) name: &'static str,
    /// What the proxy does with it.
    pub(super) class: Class,
}

impl Row {
    /// The part of the name that a client sends: after the bar for a sub-command.
    pub(super) fn last_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, sub)| sub)
    }
}

/// Why a command has a row.
pub(super) enum Class {
    /// Answered here.
    Answer(Answer, Arity),
    /// Changes or lists sessions of this proxy.
    Session(Session, Arity),
    /// Leaves state on the connection, or blocks it.
    Own(Own),
    /// XREAD and XREADGROUP: [`Class::Own`] only with `BLOCK`.
    OwnIfBlocking,
    /// Leaves state on the connection with `ON`, and is answered here with anything else.
    OwnIfOn(Own, Answer, Arity),
    /// Runs a script or a function of the user's.
    Script,
    /// For whoever administers the backend.
    /// CONFIG GET: administrative where it shows a password.
    AdminIfSecret,
    Admin,
    /// Would turn the connection into something that no longer speaks request and reply.
    Never,
    /// An HTTP request that a browser was tricked into sending.
    CrossProtocol,
    /// A container: what its sub-commands do, and what to do with those not listed.
    Container(&'static [Row], Plan),
}

/// How many arguments a command takes, its own name included, as Redis counts them.
#[derive(Clone, Copy)]
pub(super) struct Arity {
    min: usize,
    max: usize,
}

impl Arity {
    /// Whether `argc` arguments are neither too few nor too many.
    pub(super) const fn admits(self, argc: usize) -> bool {
        self.min <= argc && argc <= self.max
    }
}

const fn exactly(argc: usize) -> Arity {
    Arity {
        min: argc,
        max: argc,
    }
}

const fn at_least(argc: usize) -> Arity {
    Arity {
        min: argc,
        max: usize::MAX,
    }
}

const fn answer(name: &'static str, answer: Answer, arity: Arity) -> Row {
    Row {
        name,
        class: Class::Answer(answer, arity),
    }
}

const fn session(name: &'static str, session: Session, arity: Arity) -> Row {
    Row {
        name,
        class: Class::Session(session, arity),
    }
}

const fn own(name: &'static str, own: Own) -> Row {
    Row {
        name,
        class: Class::Own(own),
    }
}

const fn script(name: &'static str) -> Row {
    Row {
        name,
        class: Class::Script,
    }
}

const fn admin(name: &'static str) -> Row {
    Row {
        name,
        class: Class::Admin,
    }
}

const fn never(name: &'static str) -> Row {
    Row {
        name,
        class: Class::Never,
    }
}

const fn container(name: &'static str, subs: &'static [Row], other: Plan) -> Row {
    Row {
        name,
        class: Class::Container(subs, other),
    }
}

/// All commands with a row. Arities are those of Redis's own command table.
pub(super) const ROWS: &[Row] = &[
    // Connection and session.
    // PING, ECHO and ROLE are not here: whoever sends them wants to know something of the backend.
    session("auth", Session::Auth, at_least(2)),
    session("hello", Session::Hello, at_least(1)),
    session("select", Session::Select, exactly(2)),
    session("reset", Session::Reset, exactly(1)),
    session("quit", Session::Quit, at_least(1)),
    container("client", CLIENT, Plan::Answer(Answer::ClientUnknown)),
    // Transactions.
    own("multi", Own::Multi),
    own("watch", Own::Watch),
    answer("exec", Answer::Exec, at_least(1)),
    answer("discard", Answer::Discard, exactly(1)),
    answer("unwatch", Answer::Unwatch, exactly(1)),
    // Publish and subscribe.
    own("subscribe", Own::Subscribe(Topic::Channel)),
    own("psubscribe", Own::Subscribe(Topic::Pattern)),
    own("ssubscribe", Own::Subscribe(Topic::Shard)),
    answer(
        "unsubscribe",
        Answer::Unsubscribe(Topic::Channel),
        at_least(1),
    ),
    answer(
        "punsubscribe",
        Answer::Unsubscribe(Topic::Pattern),
        at_least(1),
    ),
    answer(
        "sunsubscribe",
        Answer::Unsubscribe(Topic::Shard),
        at_least(1),
    ),
    // Commands that block the connection, or wait for what was written on it.
    own("blmove", Own::Block),
    own("blmovem", Own::Block),
    own("blmpop", Own::Block),
    own("blpop", Own::Block),
    own("brpop", Own::Block),
    own("brpoplpush", Own::Block),
    own("bzmpop", Own::Block),
    own("bzpopmax", Own::Block),
    own("bzpopmin", Own::Block),
    own("wait", Own::Wait),
    own("waitaof", Own::Wait),
    Row {
        name: "xread",
        class: Class::OwnIfBlocking,
    },
    Row {
        name: "xreadgroup",
        class: Class::OwnIfBlocking,
    },
    // A prepared set of field names belongs to the connection (Redis 8.10).
    container(
        "himport",
        &[own("himport|prepare", Own::Prepare)],
        Plan::Forward,
    ),
    script("eval"),
    script("eval_ro"),
    script("evalsha"),
    script("evalsha_ro"),
    script("fcall"),
    script("fcall_ro"),
    // Cluster mode: the proxy shows one server that is not in a cluster.
    answer("asking", Answer::ClusterDisabled, exactly(1)),
    answer("readonly", Answer::ReadOnly(true), exactly(1)),
    answer("readwrite", Answer::ReadOnly(false), exactly(1)),
    container("cluster", CLUSTER, Plan::Answer(Answer::ClusterDisabled)),
    // Server administration.
    container("acl", ACL, Plan::Forward),
    admin("bgrewriteaof"),
    admin("bgsave"),
    container("commandlog", COMMANDLOG, Plan::Forward),
    container("config", CONFIG, Plan::Forward),
    container("debug", DEBUG, Plan::Admin("debug")),
    admin("failover"),
    container(
        "function",
        &[
            own("function|kill", Own::Apart(Some("function|kill"))),
            own("function|stats", Own::Apart(None)),
        ],
        Plan::Forward,
    ),
    container("hotkeys", HOTKEYS, Plan::Forward),
    container("latency", LATENCY, Plan::Forward),
    container("memory", MEMORY, Plan::Forward),
    admin("migrate"),
    container("module", MODULE, Plan::Forward),
    own("monitor", Own::Monitor),
    admin("pfdebug"),
    admin("pfselftest"),
    admin("replicaof"),
    admin("restore-asking"),
    admin("save"),
    container("script", SCRIPT, Plan::Forward),
    admin("sentinel"),
    admin("sflush"),
    admin("shutdown"),
    admin("slaveof"),
    container("slowlog", SLOWLOG, Plan::Forward),
    // Replication: after these the server sends its stream of writes instead of replies.
    never("psync"),
    never("replconf"),
    never("sync"),
    // The words that begin an HTTP request's lines; Redis hangs up on them too.
    Row {
        name: "host:",
        class: Class::CrossProtocol,
    },
    Row {
        name: "post",
        class: Class::CrossProtocol,
    },
];

const CLIENT: &[Row] = &[
    answer("client|caching", Answer::ClientCaching, exactly(3)),
    answer("client|capa", Answer::ClientCapa, at_least(3)),
    answer("client|getname", Answer::ClientGetName, exactly(2)),
    answer("client|getredir", Answer::ClientGetRedir, exactly(2)),
    answer("client|help", Answer::ClientHelp, exactly(2)),
    answer("client|id", Answer::ClientId, exactly(2)),
    own("client|import-source", Own::ImportSource),
    session("client|info", Session::ClientInfo, exactly(2)),
    session("client|kill", Session::ClientKill, at_least(3)),
    session("client|list", Session::ClientList, at_least(2)),
    answer("client|no-evict", Answer::ClientSwitch, exactly(3)),
    Row {
        name: "client|no-touch",
        class: Class::OwnIfOn(Own::NoTouch, Answer::ClientNoTouchOff, exactly(3)),
    },
    admin("client|pause"),
    session("client|reply", Session::ClientReply, exactly(3)),
    session("client|setinfo", Session::ClientSetInfo, exactly(4)),
    session("client|setname", Session::ClientSetName, exactly(3)),
    Row {
        name: "client|tracking",
        class: Class::OwnIfOn(Own::Tracking, Answer::ClientTrackingOff, at_least(3)),
    },
    answer(
        "client|trackinginfo",
        Answer::ClientTrackingInfo,
        exactly(2),
    ),
    session("client|unblock", Session::ClientUnblock, at_least(3)),
    admin("client|unpause"),
];

/// Only what an operator may want to pass through to a backend: everything else, known or not, has
/// the answer that cluster support is disabled.
const CLUSTER: &[Row] = &[
    admin("cluster|addslots"),
    admin("cluster|addslotsrange"),
    admin("cluster|bumpepoch"),
    admin("cluster|cancelslotmigrations"),
    admin("cluster|count-failure-reports"),
    admin("cluster|countkeysinslot"),
    admin("cluster|delslots"),
    admin("cluster|delslotsrange"),
    admin("cluster|failover"),
    admin("cluster|flushslot"),
    admin("cluster|flushslots"),
    admin("cluster|forget"),
    admin("cluster|getkeysinslot"),
    admin("cluster|getslotmigrations"),
    answer("cluster|help", Answer::ClusterHelp, exactly(2)),
    admin("cluster|links"),
    admin("cluster|meet"),
    admin("cluster|migrateslots"),
    admin("cluster|migration"),
    admin("cluster|replicate"),
    admin("cluster|reset"),
    admin("cluster|saveconfig"),
    admin("cluster|set-config-epoch"),
    admin("cluster|setslot"),
    admin("cluster|slot-stats"),
];

const ACL: &[Row] = &[
    admin("acl|deluser"),
    admin("acl|dryrun"),
    admin("acl|getuser"),
    admin("acl|list"),
    admin("acl|load"),
    admin("acl|log"),
    admin("acl|save"),
    admin("acl|setuser"),
    admin("acl|users"),
];

/// Also the reading ones: the log shows the arguments of every user of the backend.
const COMMANDLOG: &[Row] = &[
    admin("commandlog|get"),
    admin("commandlog|len"),
    admin("commandlog|reset"),
];

const CONFIG: &[Row] = &[
    Row {
        name: "config|get",
        class: Class::AdminIfSecret,
    },
    admin("config|resetstat"),
    admin("config|rewrite"),
    admin("config|set"),
];

/// The two marks change what the connection may do, for everyone who shares it (Redis 8).
const DEBUG: &[Row] = &[
    never("debug|mark-internal-client"),
    never("debug|promote-conn-internal"),
];

const HOTKEYS: &[Row] = &[
    admin("hotkeys|get"),
    admin("hotkeys|reset"),
    admin("hotkeys|start"),
    admin("hotkeys|stop"),
];

const LATENCY: &[Row] = &[
    admin("latency|doctor"),
    admin("latency|graph"),
    admin("latency|histogram"),
    admin("latency|history"),
    admin("latency|latest"),
    admin("latency|reset"),
];

const MEMORY: &[Row] = &[
    admin("memory|doctor"),
    admin("memory|malloc-stats"),
    admin("memory|purge"),
];

const MODULE: &[Row] = &[
    admin("module|load"),
    admin("module|loadex"),
    admin("module|unload"),
];

/// SCRIPT DEBUG would turn the connection into a debugger at the next EVAL.
const SCRIPT: &[Row] = &[
    never("script|debug"),
    own("script|kill", Own::Apart(Some("script|kill"))),
];

/// As for [`COMMANDLOG`].
const SLOWLOG: &[Row] = &[
    admin("slowlog|get"),
    admin("slowlog|len"),
    admin("slowlog|reset"),
];
