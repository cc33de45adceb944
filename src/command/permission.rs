//! Permissions for the commands that the proxy answers or executes itself.
//!
//! The ACL of a user may forbid these commands, and only the server knows the ACL. So the proxy
//! sends a probe: a form of the command that changes nothing, or whose arguments the server
//! rejects. The server checks the ACL before the arguments, so the reply tells whether the user has
//! the permission. Probes use a single space, which is not a number, option, address or name.

use super::{Answer, Plan, Session};

/// A command that needs a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Permission {
    /// SELECT of one database. A user may have the permission for some databases only.
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
    /// The permission that a plan needs; `None` when it needs none, or is not answered or executed
    /// by the proxy.
    ///
    /// SELECT is not here, because it needs the number of the database. All users may use AUTH,
    /// HELLO, QUIT and RESET. CLIENT REPLY is always allowed: it affects only the replies of the
    /// client, and after OFF the client would not get the error.
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

    /// The words of the probe: a request that changes nothing on a connection with database `db`,
    /// and that the server rejects with NOPERM when the user lacks the permission.
    pub fn probe(self, db: &str) -> Vec<&[u8]> {
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

/// The permissions that a user is known to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// Whether the user is known to have the permission.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u8 != 0
    }

    /// Records that the user has the permission.
    pub fn add(&mut self, permission: Permission) {
        self.0 |= 1 << permission as u8;
    }
}
