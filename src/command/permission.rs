//! Commands that the proxy answers itself although the ACL of a user may forbid them.
//!
//! Whether it does only the server knows, and it tells whoever tries. Each of these commands has a
//! form that a server refuses for its arguments, or that changes nothing: the ACL is looked at
//! before the arguments, so the reply tells whether the user may give the command at all. A single
//! space is no number, no option, no address and no name.

use super::{Answer, Plan, Session};

/// A command whose permission is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Permission {
    /// SELECT, of one database: a user may have the right to some of them.
    Select,
    /// CLIENT CACHING.
    Caching,
    /// CLIENT CAPA.
    Capa,
    /// CLIENT GETNAME.
    GetName,
    /// CLIENT GETREDIR.
    GetRedir,
    /// CLIENT ID.
    Id,
    /// CLIENT INFO.
    Info,
    /// CLIENT KILL.
    Kill,
    /// CLIENT LIST.
    List,
    /// CLIENT NO-EVICT.
    NoEvict,
    /// CLIENT NO-TOUCH.
    NoTouch,
    /// CLIENT SETINFO.
    SetInfo,
    /// CLIENT SETNAME.
    SetName,
    /// CLIENT TRACKING.
    Tracking,
    /// CLIENT TRACKINGINFO.
    TrackingInfo,
    /// CLIENT UNBLOCK.
    Unblock,
}

impl Permission {
    /// What a command needs that is answered or carried out here. SELECT is asked about where its
    /// database is known. AUTH, HELLO, QUIT and RESET are everybody's. CLIENT REPLY is only about
    /// what the client itself hears, and must not fail: after OFF it would not hear why.
    pub fn of(plan: Plan) -> Option<Self> {
        Some(match plan {
            Plan::Answer(answer) => match answer {
                Answer::ClientCaching => Self::Caching,
                Answer::ClientCapa => Self::Capa,
                Answer::ClientGetName => Self::GetName,
                Answer::ClientGetRedir => Self::GetRedir,
                Answer::ClientId => Self::Id,
                Answer::ClientSwitch => Self::NoEvict,
                Answer::ClientNoTouchOff => Self::NoTouch,
                Answer::ClientTrackingOff => Self::Tracking,
                Answer::ClientTrackingInfo => Self::TrackingInfo,
                _ => return None,
            },
            Plan::Session(session) => match session {
                Session::ClientInfo => Self::Info,
                Session::ClientKill => Self::Kill,
                Session::ClientList => Self::List,
                Session::ClientSetInfo => Self::SetInfo,
                Session::ClientSetName => Self::SetName,
                Session::ClientUnblock => Self::Unblock,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The words of a request that a server refuses to a user who may not give the command, and
    /// whose execution changes nothing on a connection that has selected `db`.
    pub fn question(self, db: &str) -> Vec<&[u8]> {
        let words: &[&str] = match self {
            Self::Select => return vec![b"SELECT", db.as_bytes()],
            Self::Caching => &["CACHING", " "],
            Self::Capa => &["CAPA", " "],
            Self::GetName => &["GETNAME"],
            Self::GetRedir => &["GETREDIR"],
            Self::Id => &["ID"],
            Self::Info => &["INFO"],
            Self::Kill => &["KILL", " "],
            Self::List => &["LIST", " "],
            Self::NoEvict => &["NO-EVICT", " "],
            Self::NoTouch => &["NO-TOUCH", " "],
            Self::SetInfo => &["SETINFO", " ", " "],
            Self::SetName => &["SETNAME", " "],
            Self::Tracking => &["TRACKING", " "],
            Self::TrackingInfo => &["TRACKINGINFO"],
            Self::Unblock => &["UNBLOCK", " "],
        };
        let words = words.iter().map(|word| word.as_bytes());
        std::iter::once(&b"CLIENT"[..]).chain(words).collect()
    }
}

/// What a user may do, as far as the server was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// Is the user known to have it?
    pub fn has(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u8 != 0
    }

    /// The user has it.
    pub fn add(&mut self, permission: Permission) {
        self.0 |= 1 << permission as u8;
    }
}
