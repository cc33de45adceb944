//! `--tenants.file`: limits of tenants.

use std::path::Path;
use std::sync::mpsc::Sender;

use crate::cluster::TenantRules;

use super::super::update::Update;
use super::json_file::{JsonFile, Loaded};

pub(super) struct TenantsFile {
    file: JsonFile<TenantRules>,
    updates: Sender<Update>,
}

impl TenantsFile {
    /// Follows a file, which need not exist yet. New rules are sent to `updates`.
    pub(super) fn new(path: &Path, updates: Sender<Update>) -> Self {
        Self {
            file: JsonFile::new("tenants.file", path, TenantRules::from_json),
            updates,
        }
    }

    /// Checks the file and sends new rules. Returns the outcome as a word for the log.
    pub(super) fn check(&mut self, forced: bool) -> &'static str {
        let found = self.file.check(forced);
        let outcome = found.name();
        if let Loaded::New(rules) = found {
            log::info!("tenants.file: applied");
            // Without a publisher the proxy has stopped.
            let _ = self.updates.send(Update::Rules(rules));
        }
        outcome
    }
}
