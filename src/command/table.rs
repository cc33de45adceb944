//! The command table: the commands that the proxy does not simply forward.
//!
//! A row has the name of a command, its class, and the number of arguments when the proxy replies
//! by itself. Only commands that carry connection state, that the proxy answers, or that are
//! administrative have a row. All other commands are forwarded, so that new commands work.

use super::{Answer, Dedicated, Plan, Session, Topic};

/// A command or a sub-command of one.
pub(super) struct Row {
    /// The full name in lower case, as in ACL error texts: `config|set` for a sub-command.
    pub(super) name: &'static str,
    /// The way in which the proxy handles the command.
    pub(super) class: Class,
}

impl Row {
    /// The part of the name that a client sends: after the bar for a sub-command.
    pub(super) fn last_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, sub)| sub)
    }
}

/// The way in which the proxy handles a command.
pub(super) enum Class {
    /// The proxy writes the reply.
    Answer(Answer, Arity),
    /// The proxy executes the command.
    Session(Session, Arity),
    /// The command needs a dedicated connection.
    Dedicated(Dedicated),
    /// XREAD and XREADGROUP: [`Class::Dedicated`] only with `BLOCK`.
    DedicatedIfBlocking,
    /// Needs a dedicated connection with `ON`; otherwise the proxy writes the reply.
    DedicatedIfOn(Dedicated, Answer, Arity),
    /// Runs a script or a function.
    Script,
    /// CONFIG GET, which is administrative when it shows a password.
    AdminIfSecret,
    /// An administrative command.
    Admin,
    /// Never forwarded: the connection cannot be used afterwards.
    Never,
    /// An HTTP request that a browser was tricked into sending.
    CrossProtocol,
    /// A container: its sub-commands, and the plan for all others.
    Container(&'static [Row], Plan),
}

/// The number of arguments of a command, including its name, as Redis counts them.
#[derive(Clone, Copy)]
pub(super) struct Arity {
    min: usize,
    max: usize,
}

impl Arity {
    /// Whether the command accepts `argc` arguments.
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

const fn dedicated(name: &'static str, reason: Dedicated) -> Row {
    Row {
        name,
        class: Class::Dedicated(reason),
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
    // PING, ECHO and ROLE have no row: their replies must come from the backend.
    session("auth", Session::Auth, at_least(2)),
    session("hello", Session::Hello, at_least(1)),
    session("select", Session::Select, exactly(2)),
    session("reset", Session::Reset, exactly(1)),
    session("quit", Session::Quit, at_least(1)),
    container("client", CLIENT, Plan::Answer(Answer::ClientUnknown)),
    // Transactions.
    dedicated("multi", Dedicated::Multi),
    dedicated("watch", Dedicated::Watch),
    answer("exec", Answer::Exec, at_least(1)),
    answer("discard", Answer::Discard, exactly(1)),
    answer("unwatch", Answer::Unwatch, exactly(1)),
    // Publish and subscribe.
    dedicated("subscribe", Dedicated::Subscribe(Topic::Channel)),
    dedicated("psubscribe", Dedicated::Subscribe(Topic::Pattern)),
    dedicated("ssubscribe", Dedicated::Subscribe(Topic::Shard)),
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
    // Commands that block the connection or are about its writes.
    dedicated("blmove", Dedicated::Block),
    dedicated("blmovem", Dedicated::Block),
    dedicated("blmpop", Dedicated::Block),
    dedicated("blpop", Dedicated::Block),
    dedicated("brpop", Dedicated::Block),
    dedicated("brpoplpush", Dedicated::Block),
    dedicated("bzmpop", Dedicated::Block),
    dedicated("bzpopmax", Dedicated::Block),
    dedicated("bzpopmin", Dedicated::Block),
    dedicated("wait", Dedicated::Wait),
    dedicated("waitaof", Dedicated::Wait),
    Row {
        name: "xread",
        class: Class::DedicatedIfBlocking,
    },
    Row {
        name: "xreadgroup",
        class: Class::DedicatedIfBlocking,
    },
    // A prepared set of field names belongs to the connection (Redis 8.10).
    container(
        "himport",
        &[dedicated("himport|prepare", Dedicated::Prepare)],
        Plan::Forward,
    ),
    script("eval"),
    script("eval_ro"),
    script("evalsha"),
    script("evalsha_ro"),
    script("fcall"),
    script("fcall_ro"),
    // Cluster mode: the proxy presents one server that is not in a cluster.
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
            dedicated("function|kill", Dedicated::Bypass(Some("function|kill"))),
            dedicated("function|stats", Dedicated::Bypass(None)),
        ],
        Plan::Forward,
    ),
    container("hotkeys", HOTKEYS, Plan::Forward),
    container("latency", LATENCY, Plan::Forward),
    container("memory", MEMORY, Plan::Forward),
    admin("migrate"),
    container("module", MODULE, Plan::Forward),
    dedicated("monitor", Dedicated::Monitor),
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
    // Replication: afterwards the server sends its stream of writes instead of replies.
    never("psync"),
    never("replconf"),
    never("sync"),
    // The first words of lines of an HTTP request. Redis closes the client too.
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
    dedicated("client|import-source", Dedicated::ImportSource),
    session("client|info", Session::ClientInfo, exactly(2)),
    session("client|kill", Session::ClientKill, at_least(3)),
    session("client|list", Session::ClientList, at_least(2)),
    answer("client|no-evict", Answer::ClientSwitch, exactly(3)),
    Row {
        name: "client|no-touch",
        class: Class::DedicatedIfOn(Dedicated::NoTouch, Answer::ClientNoTouchOff, exactly(3)),
    },
    admin("client|pause"),
    session("client|reply", Session::ClientReply, exactly(3)),
    session("client|setinfo", Session::ClientSetInfo, exactly(4)),
    session("client|setname", Session::ClientSetName, exactly(3)),
    Row {
        name: "client|tracking",
        class: Class::DedicatedIfOn(Dedicated::Tracking, Answer::ClientTrackingOff, at_least(3)),
    },
    answer(
        "client|trackinginfo",
        Answer::ClientTrackingInfo,
        exactly(2),
    ),
    session("client|unblock", Session::ClientUnblock, at_least(3)),
    admin("client|unpause"),
];

/// The sub-commands that an operator may send to a backend. All others, also unknown ones, get the
/// error that cluster support is disabled.
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

/// Reading is administrative too: the log shows the arguments of all users of the backend.
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

/// These two change the permissions of the connection, for all clients that share it (Redis 8).
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

/// SCRIPT DEBUG turns the connection into a debugger at the next EVAL.
const SCRIPT: &[Row] = &[
    never("script|debug"),
    dedicated("script|kill", Dedicated::Bypass(Some("script|kill"))),
];

/// As for [`COMMANDLOG`].
const SLOWLOG: &[Row] = &[
    admin("slowlog|get"),
    admin("slowlog|len"),
    admin("slowlog|reset"),
];
