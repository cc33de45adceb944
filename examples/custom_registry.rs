//! A service discovery of one's own: a folder of JSON files, watched. A file has one instance, or
//! an array of clusters as `GET /list_cluster` shows it. Write a file elsewhere and move it there.
//!
//! `cargo run --example custom_registry -- FOLDER --port=6378`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc::Receiver};
use std::{env, error::Error, fs, thread, time::Duration};

use elika::config::{self, Parsed};
use elika::{Catalog, ClusterInstance, ClusterKey, ClusterRegistry, JsonError};
use elika::{MemoryRegistry, Proxy, RegistryError, Status, TenantKey};

/// The registry that the proxy follows. One in memory keeps what is known and tells subscribers.
#[derive(Default)]
struct Folder(MemoryRegistry);

/// The text of each file, and what it says.
type Files = BTreeMap<PathBuf, (String, Vec<ClusterInstance>)>;

impl Folder {
    /// Takes over what is not in `files` yet. A file that makes no sense says what it said before.
    fn look(&self, folder: &Path, files: &mut Files) -> Result<(), Box<dyn Error>> {
        let mut now = Files::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                let text = fs::read_to_string(&path)?;
                let (known, mut said) = files.get(&path).cloned().unwrap_or_default();
                if text != known {
                    let complain = |error| eprintln!("{}: {error}", path.display());
                    said = parse(&text).map_err(complain).unwrap_or(said);
                }
                now.insert(path, (text, said));
            }
        }
        *files = now;
        let said: Vec<_> = files.values().flat_map(|it| it.1.clone()).collect();
        for mut old in self.0.all_cluster_instances() {
            if !said.iter().any(|it| it.key == old.key && it.id == old.id) {
                old.status = Status::Deleted;
                self.0.status_change(old)?;
            }
        }
        for instance in said {
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

/// The files say what there is: what others want to change is refused.
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
    let path = PathBuf::from(args.next().ok_or("which folder?")?);
    let options = ["--router.type=sync".to_owned()].into_iter().chain(args);
    let Parsed::Run(config) = config::parse(options, &|name| env::var(name).ok())? else {
        return Err("for --help ask elika-proxy".into());
    };
    let (folder, mut files) = (Arc::new(Folder::default()), Files::new());
    let proxy = Proxy::new(*config).registry(Arc::clone(&folder));
    thread::spawn(move || {
        loop {
            if let Err(error) = folder.look(&path, &mut files) {
                eprintln!("{}: {error}", path.display());
            }
            thread::park_timeout(Duration::from_millis(500));
        }
    });
    Ok(proxy.run()?)
}
