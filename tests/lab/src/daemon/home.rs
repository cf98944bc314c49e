//! The folder of a daemon under test: configuration, tokens, index, logs.

use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::clients::Endpoint;
use crate::ports;
use crate::trouble::{Because, Trouble};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and operates.
    Operator,
    /// May promote.
    Approver,
}

impl Role {
    /// All roles, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Approver];

    /// As it stands in the tokens file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }
}

/// A bucket and its standby in the configuration; what is not named here goes into [`StoreSpec::more`].
#[derive(Debug, Clone)]
pub struct BucketSpec {
    /// The bucket in prodX.
    pub bucket: String,
    /// The bucket in prodY.
    pub standby_bucket: String,
    /// The queue in prodY that tells of its changes.
    pub queue_url: String,
    /// The queue in prodY for what that one gave up.
    pub dead_letter_queue_url: Option<String>,
    /// `auto`, `server-side` or `stream`; the daemon's default when absent.
    pub transfer: Option<String>,
    /// `current` or `history`; the daemon's default when absent.
    pub versions: Option<String>,
}

/// A table or a bucket in the configuration.
#[derive(Debug, Clone)]
pub struct StoreSpec {
    /// The store's id.
    pub id: String,
    /// `replicate` or `observe`.
    pub mode: String,
    /// The bucket, of a store of kind `s3`; every other one is a table.
    pub bucket: Option<BucketSpec>,
    /// The table in prodX, and in prodY unless `standby_table` is given.
    pub table: String,
    /// The table in prodY, when it has another name.
    pub standby_table: Option<String>,
    /// The store's own objective: "5s".
    pub rpo: Option<String>,
    /// More lines of its section, as TOML.
    pub more: String,
}

impl StoreSpec {
    /// A store whose id is the name of its table.
    pub fn table(name: &str) -> Self {
        Self {
            id: name.into(),
            mode: "replicate".into(),
            bucket: None,
            table: name.into(),
            standby_table: None,
            rpo: None,
            more: String::new(),
        }
    }

    /// The same, of a global table.
    pub fn global(name: &str) -> Self {
        Self { mode: "observe".into(), ..Self::table(name) }
    }

    /// A store of kind `s3`: the events of `bucket` come through `queue_url`.
    pub fn bucket(id: &str, bucket: &str, standby_bucket: &str, queue_url: &str) -> Self {
        let bucket = BucketSpec {
            bucket: bucket.into(),
            standby_bucket: standby_bucket.into(),
            queue_url: queue_url.into(),
            dead_letter_queue_url: None,
            transfer: None,
            versions: None,
        };
        Self { bucket: Some(bucket), ..Self::table(id) }
    }

    /// The same store with this way of carrying bytes over.
    #[must_use]
    pub fn with_transfer(mut self, transfer: &str) -> Self {
        if let Some(bucket) = &mut self.bucket {
            bucket.transfer = Some(transfer.into());
        }
        self
    }

    /// The same store, all versions of whose objects are carried over, or the current ones.
    #[must_use]
    pub fn with_versions(mut self, versions: &str) -> Self {
        if let Some(bucket) = &mut self.bucket {
            bucket.versions = Some(versions.into());
        }
        self
    }

    /// The same store with a queue for what its queue gives up.
    #[must_use]
    pub fn with_dead_letters(mut self, queue_url: &str) -> Self {
        if let Some(bucket) = &mut self.bucket {
            bucket.dead_letter_queue_url = Some(queue_url.into());
        }
        self
    }

    /// The same store with more lines in its section.
    #[must_use]
    pub fn with_more(mut self, more: &str) -> Self {
        self.more = more.into();
        self
    }

    /// What its section says besides its objective and more.
    fn section(&self) -> String {
        let mut lines = vec![("id", self.id.as_str())];
        if let Some(bucket) = &self.bucket {
            lines.extend([("kind", "s3"), ("mode", &self.mode), ("bucket", &bucket.bucket)]);
            lines.extend([("standby_bucket", bucket.standby_bucket.as_str()), ("queue_url", &bucket.queue_url)]);
            lines.extend(bucket.dead_letter_queue_url.as_deref().map(|url| ("dead_letter_queue_url", url)));
            lines.extend(bucket.transfer.as_deref().map(|transfer| ("transfer", transfer)));
            lines.extend(bucket.versions.as_deref().map(|versions| ("versions", versions)));
        } else {
            lines.extend([("kind", "dynamodb"), ("mode", &self.mode), ("table", &self.table)]);
            lines.extend(self.standby_table.as_deref().map(|table| ("standby_table", table)));
        }
        let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        lines.join("\n")
    }

    /// The same store with its own objective.
    #[must_use]
    pub fn with_rpo(mut self, rpo: &str) -> Self {
        self.rpo = Some(rpo.into());
        self
    }
}

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct ConfigSpec {
    /// The application's name.
    pub app: String,
    /// prodX.
    pub primary: Endpoint,
    /// prodY.
    pub standby: Endpoint,
    /// The objective of every store that has none of its own: "60s".
    pub rpo: String,
    /// The objective of the recovery: "15m".
    pub rto: String,
    /// The stores.
    pub stores: Vec<StoreSpec>,
    /// More sections, as TOML: promote steps.
    pub more: String,
}

impl ConfigSpec {
    /// Tables between two regions, objectives of a minute and of a quarter of an hour, no promote steps.
    pub fn new(primary: &Endpoint, standby: &Endpoint, stores: Vec<StoreSpec>) -> Self {
        Self {
            app: "lab".into(),
            primary: primary.clone(),
            standby: standby.clone(),
            rpo: "60s".into(),
            rto: "15m".into(),
            stores,
            more: String::new(),
        }
    }

    /// The file, for a daemon that listens on `port` with its index and its tokens at these paths.
    pub fn to_toml(&self, port: u16, index: &Path, tokens_file: &Path) -> String {
        let mut text = String::new();
        let mut line = |text_line: String| {
            text.push_str(&text_line);
            text.push('\n');
        };
        line(format!("app = {}", quoted(&self.app)));
        for (section, endpoint) in [("primary", &self.primary), ("standby", &self.standby)] {
            line(format!("\n[{section}]"));
            line(format!("region = {}", quoted(&endpoint.region)));
            line(format!("endpoint_url = {}", quoted(&endpoint.url)));
        }
        line(format!("\n[objectives]\nrpo = {}\nrto = {}", quoted(&self.rpo), quoted(&self.rto)));
        line(format!("\n[index]\npath = {}", quoted(&index.to_string_lossy())));
        line(format!("\n[serve]\nlisten = \"127.0.0.1:{port}\""));
        line(format!("tokens_file = {}", quoted(&tokens_file.to_string_lossy())));
        for store in &self.stores {
            line("\n[[store]]".into());
            line(store.section());
            if let Some(rpo) = &store.rpo {
                line(format!("rpo = {}", quoted(rpo)));
            }
            if !store.more.is_empty() {
                line(store.more.clone());
            }
        }
        if !self.more.is_empty() {
            line(format!("\n{}", self.more));
        }
        text
    }
}

/// A string in TOML: JSON's escapes are TOML's too.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A prepared folder.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
    url: String,
    tokens: [String; 3],
}

impl Home {
    /// Makes the folder with a configuration, three tokens (one a role) and a port of its own.
    pub fn prepare(folder: &Path, spec: &ConfigSpec) -> Result<Self, Trouble> {
        let create =
            |path: &Path| std::fs::create_dir_all(path).because(format!("could not create {}", path.display()));
        create(&folder.join("cli"))?;
        let port = ports::free()?;
        let tokens = Role::ALL.map(|role| format!("lab-{}-{}-{port}", role.name(), std::process::id()));
        let home = Self { folder: folder.into(), url: format!("http://127.0.0.1:{port}"), tokens };
        let mut lines = String::new();
        for role in Role::ALL {
            writeln!(lines, "{} {} {}", role.name(), role.name(), sha256_hex(home.token(role)))
                .because("could not write to a string")?;
            write_secret(&home.token_file(role), &format!("{}\n", home.token(role)))?;
        }
        write_secret(&home.tokens_file(), &lines)?;
        write_secret(&home.config(), &spec.to_toml(port, &home.index(), &home.tokens_file()))?;
        Ok(home)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("plimsoll.toml")
    }

    /// The directory of the index.
    pub fn index(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// The tokens file of the daemon.
    pub fn tokens_file(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// The output of the daemon, over all its restarts.
    pub fn log(&self) -> PathBuf {
        self.folder.join("plimsoll.log")
    }

    /// Where the daemon listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token of a role.
    pub fn token(&self, role: Role) -> &str {
        let [viewer, operator, approver] = &self.tokens;
        match role {
            Role::Viewer => viewer,
            Role::Operator => operator,
            Role::Approver => approver,
        }
    }

    /// The file with the token of a role, for `--token-file`.
    pub fn token_file(&self, role: Role) -> PathBuf {
        self.folder.join(format!("{}.token", role.name()))
    }

    /// Two new files for what a CLI command writes.
    pub(crate) fn fresh_output_files(&self) -> Result<(PathBuf, PathBuf), Trouble> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = |end: &str| self.folder.join("cli").join(format!("{number:03}.{end}"));
        for end in ["out", "err"] {
            std::fs::write(path(end), "").because(format!("could not write {}", path(end).display()))?;
        }
        Ok((path("out"), path("err")))
    }
}

/// A file that only its owner can read: the daemon refuses secrets that others can read.
fn write_secret(path: &Path, text: &str) -> Result<(), Trouble> {
    use std::io::Write as _;
    let what = || format!("could not write {}", path.display());
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).because(what())?.write_all(text.as_bytes()).because(what())
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_what_was_asked() {
        let x = Endpoint::new("http://127.0.0.1:1", "us-east-1");
        let y = Endpoint::new("http://127.0.0.1:2", "us-west-2");
        let mut spec =
            ConfigSpec::new(&x, &y, vec![StoreSpec::table("orders").with_rpo("5s"), StoreSpec::table("a\"b")]);
        spec.more = "[[promote.step]]\nid = \"x\"".into();
        let text = spec.to_toml(9, Path::new("/i"), Path::new("/t"));
        let expected = "app = \"lab\"\n\n[primary]\nregion = \"us-east-1\"\nendpoint_url = \"http://127.0.0.1:1\"\n";
        assert!(text.starts_with(expected), "{text}");
        for part in [
            "[standby]\nregion = \"us-west-2\"\nendpoint_url = \"http://127.0.0.1:2\"\n",
            "[objectives]\nrpo = \"60s\"\nrto = \"15m\"\n",
            "[index]\npath = \"/i\"\n",
            "[serve]\nlisten = \"127.0.0.1:9\"\ntokens_file = \"/t\"\n",
            "[[store]]\nid = \"orders\"\nkind = \"dynamodb\"\nmode = \"replicate\"\ntable = \"orders\"\nrpo = \"5s\"\n",
            "table = \"a\\\"b\"\n",
            "\n[[promote.step]]\nid = \"x\"\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_bucket_has_a_section_of_its_own_kind() {
        let store = StoreSpec::bucket("media", "x-media", "y-media", "http://127.0.0.1:2/0/q");
        let store =
            store.with_transfer("stream").with_dead_letters("http://127.0.0.1:2/0/d").with_more("receivers = 2");
        let x = Endpoint::new("http://127.0.0.1:1", "us-east-1");
        let text = ConfigSpec::new(&x, &x, vec![store]).to_toml(9, Path::new("/i"), Path::new("/t"));
        let expected = "[[store]]\nid = \"media\"\nkind = \"s3\"\nmode = \"replicate\"\nbucket = \"x-media\"\n\
                        standby_bucket = \"y-media\"\nqueue_url = \"http://127.0.0.1:2/0/q\"\n\
                        dead_letter_queue_url = \"http://127.0.0.1:2/0/d\"\ntransfer = \"stream\"\nreceivers = 2\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_token_stands_in_the_tokens_file_as_its_hash_only() {
        let folder = tempfile::tempdir().unwrap();
        let x = Endpoint::new("http://127.0.0.1:1", "us-east-1");
        let home = Home::prepare(folder.path(), &ConfigSpec::new(&x, &x, Vec::new())).unwrap();
        let lines = std::fs::read_to_string(home.tokens_file()).unwrap();
        assert_eq!(lines.lines().count(), 3);
        for role in Role::ALL {
            assert!(!lines.contains(home.token(role)));
            assert_eq!(std::fs::read_to_string(home.token_file(role)).unwrap().trim(), home.token(role));
        }
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(home.tokens_file()).unwrap().permissions().mode() & 0o077, 0);
    }
}
