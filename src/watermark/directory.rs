//! The directory that the index lives in: made, judged, and watched for being taken away.
//!
//! Invariant: a directory that holds anything else, or the remains of an index that lost its `CURRENT` file, is never
//! written into: an index created over it would look healthy and have forgotten everything.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::IndexError;

/// Only its owner may look into it (RK-7).
const MODE: u32 = 0o700;
/// The database's own pointer to its newest manifest: there is no database without it.
const CURRENT: &str = "CURRENT";
/// Says why this directory must not be used again.
const CONDEMNED: &str = "DAMAGED";
/// Written and removed to see whether the storage takes data again.
const PROBE: &str = "probe.tmp";
/// Enough to need blocks of its own on any file system.
const PROBE_BYTES: usize = 64 << 10;

/// An index directory, recognised by its inode as well as by its name.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    inode: (u64, u64),
}

/// What was found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an index whose creation was interrupted before it held anything: no table, and no byte in a log.
    Nothing,
    /// An index.
    Index,
}

/// What an error of the file system means to the person who runs this.
pub(super) fn sentence(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::PermissionDenied => {
            format!("{e}; the directory must belong to the user that runs Plimsoll")
        }
        ErrorKind::ReadOnlyFilesystem => format!("{e}; the index needs a writable file system"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            format!("{e}; make room, Plimsoll goes on by itself")
        }
        ErrorKind::NotADirectory => format!("{e}; a part of the path is a file"),
        _ => e.to_string(),
    }
}

impl Directory {
    /// Makes the directory if there is none, and judges what is in it.
    pub(super) fn prepare(path: &Path) -> Result<(Self, Found), IndexError> {
        let shown = path.display().to_string();
        let refuse = |what: String| IndexError::Io { path: shown.clone(), what };
        let failed = |e: io::Error| refuse(sentence(&e));
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => return Err(refuse("it is a file, not a directory".into())),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => create(path).map_err(failed)?,
            Err(e) => return Err(failed(e)),
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.metadata() {
                Ok(meta) => files.push((name, meta.len())),
                // An index in use loses files at any moment; the lock is asked for later.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(failed(e)),
            }
        }
        let found = judge(&files).map_err(|no| match no {
            Unfit::Headless => IndexError::Damaged { path: shown.clone(), what: "its file CURRENT is missing".into() },
            Unfit::Others(name) => refuse(format!(
                "the directory holds other files ({name}) and no index; give the index a directory of its own"
            )),
        })?;
        match fs::read_to_string(path.join(CONDEMNED)) {
            Ok(what) => return Err(IndexError::Damaged { path: shown, what }),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let meta = fs::metadata(path).map_err(failed)?;
        if meta.permissions().mode() & 0o777 != MODE {
            fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        }
        Ok((Self { path: path.to_owned(), inode: (meta.dev(), meta.ino()) }, found))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Is it still what it was? Two `stat` calls.
    pub(super) fn intact(&self) -> Result<(), String> {
        let gone = |what: &str| {
            format!(
                "the index directory was {what} while running; restart Plimsoll, stores start again from their sources"
            )
        };
        match fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == self.inode => {}
            Ok(_) => return Err(gone("replaced")),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(gone("deleted")),
            Err(e) => return Err(sentence(&e)),
        }
        match fs::symlink_metadata(self.path.join(CURRENT)) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(gone("emptied")),
            Err(e) => Err(sentence(&e)),
        }
    }

    /// The manifest that the database uses now, by name and as a file; `None` when `CURRENT` names none, which is the
    /// database's to complain about.
    pub(super) fn manifest(&self) -> Option<(String, fs::File)> {
        let name = fs::read_to_string(self.path.join(CURRENT)).ok()?.trim_end().to_owned();
        let plain = name.starts_with("MANIFEST-") && !name.contains('/');
        let file = plain.then(|| fs::File::open(self.path.join(&name)))?.ok()?;
        Some((name, file))
    }

    /// Leaves word that this index must not be used again: the database, once opened, has forgotten that it was hurt.
    pub(super) fn condemn(&self, what: &str) -> io::Result<()> {
        let mut file = fs::File::create(self.path.join(CONDEMNED))?;
        file.write_all(what.as_bytes())?;
        file.sync_all()
    }

    /// Does the storage take data? Writes, syncs and removes a small file.
    pub(super) fn probe(&self) -> Result<(), String> {
        let path = self.path.join(PROBE);
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_all()
        };
        let written = write();
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(|e| sentence(&e))
    }
}

fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(MODE).create(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Why a directory cannot become an index.
#[derive(Debug, PartialEq, Eq)]
enum Unfit {
    /// Data of an index, and no `CURRENT`.
    Headless,
    /// Somebody else's file.
    Others(String),
}

fn judge(files: &[(String, u64)]) -> Result<Found, Unfit> {
    let ends = |name: &str, end: &str| Path::new(name).extension().is_some_and(|ext| ext == end);
    let data =
        files.iter().any(|(name, len)| ends(name, "sst") || ends(name, "blob") || (ends(name, "log") && *len > 0));
    match (files.iter().any(|(name, _)| name == CURRENT), data) {
        (true, true) => return Ok(Found::Index),
        (true, false) => return Ok(Found::Nothing),
        (false, true) => return Err(Unfit::Headless),
        (false, false) => {}
    }
    // What the database writes before its first CURRENT, and what a file system puts at its root.
    let early = |name: &str| {
        matches!(name, "LOCK" | "IDENTITY" | PROBE | "lost+found")
            || ["LOG", "MANIFEST-", "OPTIONS-"].iter().any(|start| name.starts_with(start))
            || ends(name, "dbtmp")
            || ends(name, "log")
    };
    match files.iter().find(|(name, _)| !early(name)) {
        Some((other, _)) => Err(Unfit::Others(other.clone())),
        None => Ok(Found::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Found, Unfit> {
        judge(&names.iter().map(|n| ((*n).to_owned(), 9)).collect::<Vec<_>>())
    }

    #[test]
    fn an_index_is_never_created_over_something() {
        assert_eq!(of(&[]), Ok(Found::Nothing));
        assert_eq!(of(&["lost+found"]), Ok(Found::Nothing));
        assert_eq!(of(&["LOCK", "LOG", "MANIFEST-000001", "000001.dbtmp", "IDENTITY"]), Ok(Found::Nothing));
        assert_eq!(of(&["CURRENT", "MANIFEST-000005", "000004.log"]), Ok(Found::Index));
        assert_eq!(of(&["CURRENT", "MANIFEST-000005", "000009.sst", "notes.txt"]), Ok(Found::Index));
        assert_eq!(of(&["MANIFEST-000005", "000004.log"]), Err(Unfit::Headless));
        assert_eq!(of(&["000009.sst"]), Err(Unfit::Headless));
        assert_eq!(of(&["LOCK", "passwd"]), Err(Unfit::Others("passwd".into())));
        let unfinished = [("CURRENT".to_owned(), 16), ("000004.log".to_owned(), 0)];
        assert_eq!(judge(&unfinished), Ok(Found::Nothing));
    }

    #[test]
    fn the_directory_is_made_for_its_owner_only_and_recognised_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/index");
        let (directory, found) = Directory::prepare(&path).unwrap();
        assert_eq!(found, Found::Nothing);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(directory.intact().unwrap_err().contains("emptied"));
        fs::write(path.join(CURRENT), "x").unwrap();
        directory.intact().unwrap();
        directory.probe().unwrap();
        assert!(!path.join(PROBE).exists());
        fs::rename(&path, root.path().join("aside")).unwrap();
        assert!(directory.intact().unwrap_err().contains("deleted"));
        fs::create_dir(&path).unwrap();
        assert!(directory.intact().unwrap_err().contains("replaced"));
        fs::remove_dir(&path).unwrap();
        fs::rename(root.path().join("aside"), &path).unwrap();
        directory.intact().unwrap();
    }

    #[test]
    fn a_file_and_a_path_through_a_file_are_refused_in_words() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        let said = |path: &Path| Directory::prepare(path).unwrap_err().to_string();
        assert!(said(&file).contains("it is a file, not a directory"), "{}", said(&file));
        assert!(said(&file.join("index")).contains("a part of the path is a file"), "{}", said(&file.join("index")));
        let others = said(root.path());
        assert!(others.contains("holds other files (file)"), "{others}");
    }
}
