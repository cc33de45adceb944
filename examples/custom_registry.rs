//! A service discovery that watches a folder of JSON files. A file has one instance, or an array of
//! clusters as `GET /list_cluster` shows it. Write a file elsewhere and move it into the folder.
//!
//! `cargo run --example custom_registry -- FOLDER --port=6378`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc::Receiver};
use std::{env, error::Error, fs, thread, time::Duration};

use elika::config::{self, Parsed};
use elika::{Catalog, ClusterInstance, ClusterKey, ClusterRegistry, JsonError};
use elika::{MemoryRegistry, Proxy, RegistryError, Status, TenantKey};

/// The registry that the proxy follows. A `MemoryRegistry` keeps the instances and notifies
/// subscribers.
#[derive(Default)]
struct Folder(MemoryRegistry);

/// The text and the instances of each file.
type Files = BTreeMap<PathBuf, (String, Vec<ClusterInstance>)>;

impl Folder {
    /// Reads the folder and applies the changes since `files`. A file with an error keeps its
    /// previous instances.
    fn update(&self, folder: &Path, files: &mut Files) -> Result<(), Box<dyn Error>> {
        let mut now = Files::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let text = fs::read_to_string(&path)?;
                let (known, mut instances) = files.get(&path).cloned().unwrap_or_default();
                if text != known {
                    let report = |error| eprintln!("{}: {error}", path.display());
                    instances = parse(&text).map_err(report).unwrap_or(instances);
                }
                now.insert(path, (text, instances));
            }
        }
        *files = now;
        let listed: Vec<_> = files.values().flat_map(|it| it.1.clone()).collect();
        for mut old in self.0.all_cluster_instances() {
            if !listed.iter().any(|it| it.key == old.key && it.id == old.id) {
                old.status = Status::Deleted;
                self.0.status_change(old)?;
            }
        }
        for instance in listed {
            self.0.add_cluster(instance.key.clone())?;
            self.0.status_change(instance)?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Vec<ClusterInstance>, JsonError> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![ClusterInstance::from_json(text)?]);
    }
    let clusters = Catalog::from_json(text)?.clusters.into_iter();
    Ok(clusters.flat_map(|cluster| cluster.instances).collect())
}

/// Only the files change clusters, so every other change is rejected.
impl ClusterRegistry for Folder {
    fn add_cluster(&self, _: ClusterKey) -> Result<TenantKey, RegistryError> {
        Err(RegistryError::Unavailable("write a file".into()))
    }
    fn status_change(&self, _: ClusterInstance) -> Result<(), RegistryError> {
        Err(RegistryError::Unavailable("write a file".into()))
    }
    fn notify(&self) -> Receiver<ClusterInstance> {
        self.0.notify()
    }
    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        self.0.get_cluster_instance(tenant)
    }
    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        self.0.all_cluster_instances()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = PathBuf::from(
        args.next()
            .ok_or("usage: custom_registry FOLDER [OPTIONS]")?,
    );
    let options = ["--router.type=sync".to_owned()].into_iter().chain(args);
    let Parsed::Run(config) = config::parse(options, &|name| env::var(name).ok())? else {
        return Err("elika-proxy --help lists the options".into());
    };
    let (folder, mut files) = (Arc::new(Folder::default()), Files::new());
    let proxy = Proxy::new(*config).registry(Arc::clone(&folder));
    thread::spawn(move || {
        loop {
            if let Err(error) = folder.update(&path, &mut files) {
                eprintln!("{}: {error}", path.display());
            }
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    Ok(proxy.run()?)
}
