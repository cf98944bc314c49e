//! The files around a configuration: the text itself, and those it names. Local files may be looked at offline.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::keys::{CERT_FILE, CLIENT_CA_FILE, KEY_FILE, TOKENS_FILE};
use super::problem::{Problem, Severity};
use super::{Checked, Config, MAX_BYTES, read};

/// Reads and checks the configuration in a file, and that the files it names are there, readable, and private where
/// they must be.
pub fn load(path: &Path) -> Result<Checked, Vec<Problem>> {
    let source = path.display().to_string();
    let text = text(path).map_err(|(what, hint)| vec![whole(&source, what, hint)])?;
    let checked = read(&text, &source)?;
    let mut problems = named(&checked.config, &source);
    if problems.is_empty() {
        return Ok(checked);
    }
    problems.extend(checked.warnings);
    Err(problems)
}

fn text(path: &Path) -> Result<String, (String, &'static str)> {
    const HOW: &str = "name the file with -c FILE; `plimsoll config default` prints one to start from";
    let cannot = |error: std::io::Error| (format!("cannot be read: {error}"), HOW);
    if std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Err(("cannot be read: it is a folder".to_owned(), HOW));
    }
    // Read no further than needed to know that it is too big: a device or a pipe has no size to ask for.
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() > MAX_BYTES {
        return Err((too_big_words(), "is this the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        (format!("not UTF-8 text: the first wrong byte is in line {line}"), "save it as UTF-8")
    })
}

fn too_big_words() -> String {
    format!("more than {} KiB, which no configuration is", MAX_BYTES / 1024)
}

/// The refusal of a text beyond [`MAX_BYTES`].
pub(super) fn too_big(source: &str) -> Problem {
    whole(source, too_big_words(), "is this the right file?")
}

fn whole(source: &str, what: String, hint: &str) -> Problem {
    let (severity, hint) = (Severity::Error, Some(hint.to_owned()));
    Problem { severity, path: String::new(), what, hint, source: source.into(), line: None, value: None }
}

/// Problems of the files that a configuration names.
fn named(config: &Config, source: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut look = |key: &str, path: &Path, private: bool| {
        if let Err((what, hint)) = usable(path, private) {
            let value = Some(format!("{:?}", path.display().to_string()));
            let path = format!("serve.{key}");
            let (severity, source) = (Severity::Error, source.into());
            problems.push(Problem { severity, path, what, hint: Some(hint), source, line: None, value });
        }
    };
    if let Some(path) = &config.serve.tokens_file {
        look(TOKENS_FILE.name, path, true);
    }
    if let Some(tls) = &config.serve.tls {
        look(CERT_FILE.name, &tls.cert_file, false);
        look(KEY_FILE.name, &tls.key_file, true);
        if let Some(path) = &tls.client_ca_file {
            look(CLIENT_CA_FILE.name, path, false);
        }
    }
    problems
}

/// The mode of a secret file that others could read or write, for the refusal. The group may read what is root's: that is
/// how systemd hands over credentials (0440 with an access list). Nobody but the owner may write.
pub fn open_to_others(about: &std::fs::Metadata) -> Option<u32> {
    let mode = about.mode() & 0o777;
    let group_reads = mode & 0o040 != 0 && about.uid() != 0;
    (mode & 0o037 != 0 || group_reads).then_some(mode)
}

/// Whether a file can be read, and by nobody else if it must be private.
fn usable(path: &Path, private: bool) -> Result<(), (String, String)> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        (format!("cannot be read: {error}"), format!("create {shown}, or let the user that runs plimsoll read it"))
    };
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(("not a file".to_owned(), "name a file".to_owned()));
    }
    let about = std::fs::File::open(path).and_then(|file| file.metadata()).map_err(cannot)?;
    if let Some(mode) = open_to_others(&about).filter(|_| private) {
        return Err((format!("open to others (mode {mode:04o})"), format!("run: chmod 0600 {shown}")));
    }
    Ok(())
}
