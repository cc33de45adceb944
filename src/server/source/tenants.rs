//! `--tenants.file`: what tenants may use.

use std::path::Path;
use std::sync::mpsc::Sender;

use crate::cluster::TenantRules;

use super::super::directory::Fact;
use super::followed::{Followed, Found};

/// See the module.
pub(super) struct TenantsFile {
    file: Followed<TenantRules>,
    facts: Sender<Fact>,
}

impl TenantsFile {
    /// It need not exist. New rules go to `facts`.
    pub(super) fn new(path: &Path, facts: Sender<Fact>) -> Self {
        Self {
            file: Followed::new("tenants.file", path, TenantRules::from_json),
            facts,
        }
    }

    /// Looks at the file and passes on what it says; what was found, in a word.
    pub(super) fn look(&mut self, asked: bool) -> &'static str {
        let found = self.file.look(asked);
        let word = found.word();
        if let Found::New(rules) = found {
            log::info!("tenants.file: read");
            // Without a directory the proxy has stopped.
            let _ = self.facts.send(Fact::Rules(rules));
        }
        word
    }
}
